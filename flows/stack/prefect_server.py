"""Prefect's server behind a door: only requests to this machine's own addresses come in.

`uvicorn --factory flows.stack.prefect_server:app`. Prefect's own server answers any Host and any
Origin, so a page on the web whose name is made to lead here (DNS rebinding), or that posts without
asking, would reach it.
"""

import os
from typing import Any

from prefect.server.api.server import create_app
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ORIGINS = "RNNFLOW_ORIGINS"  # environment variable: the allowed addresses, with commas


class Door:
    """An ASGI application that refuses requests with a foreign Host or Origin.

    Args:
        application: what answers the others.
        origins: allowed addresses, such as http://127.0.0.1:4200.
    """

    def __init__(self, application: ASGIApp, origins: list[str]) -> None:
        self._application = application
        self._origins = set(origins)
        self._hosts = {origin.partition("://")[2] for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 to a foreign Host or Origin; close a web socket of one."""
        if scope["type"] in ("http", "websocket") and (reason := self._foreign(scope)):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": reason})
            else:
                await PlainTextResponse(reason, status_code=403)(scope, receive, send)
            return
        await self._application(scope, receive, send)

    def _foreign(self, scope: Scope) -> str:
        """Return why a request is refused; empty if it is not."""
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self._hosts:
            return f"Host is not one of {', '.join(sorted(self._hosts))}; set {ORIGINS}"
        if headers.get("origin") not in self._origins | {None}:
            return f"Origin is not one of {', '.join(sorted(self._origins))}; set {ORIGINS}"
        return ""


def app() -> Any:
    """Return Prefect's server, with its services, behind the door."""
    return Door(create_app(final=True), os.environ[ORIGINS].split(","))

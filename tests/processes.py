"""Real processes for tests: in an environment of their own, waited for, and ended to the last one.

environment = isolated(tmp_path, PREFECT_API_URL=…)
start("prefect", "server", "start", environment=environment, log=tmp_path / "server.log")
wait_for(lambda: …, "the server")
end(tmp_path)
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

T = TypeVar("T")


def require_program(name: str) -> str:
    """The path of a program; skips the test where it is not installed, but fails where CI=true."""
    path = shutil.which(name)
    if path:
        return path
    reason = f"{name} is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def isolated(home: Path, **variables: str) -> dict[str, str]:
    """Return this environment without settings of Prefect and MLflow.

    Its PREFECT_HOME tells `end` which processes are its own. Coverage is not measured there: it
    makes servers three times slower, and tests in one process run the same lines.
    """
    without = ("PREFECT_", "MLFLOW_", "COVERAGE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that nothing here uses
        "COLUMNS": "500",  # Rich breaks no line
        **variables,
    }


def start(
    *command: str, environment: dict[str, str], cwd: Path, log: Path
) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, in `cwd`, and write what it says to `log`."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=environment | {"PWD": str(cwd)},
            cwd=cwd,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_hear_ctrl_c,
        )


def _hear_ctrl_c() -> None:
    """Undo what a shell does to programs in the background, the tests for one: it has them deaf."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(
    *command: str, environment: dict[str, str], cwd: Path, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end in `cwd`."""
    options = {"capture_output": True, "text": True, "timeout": 300} | options
    return subprocess.run(command, env=environment | {"PWD": str(cwd)}, cwd=cwd, **options)


def wait_for(condition: Callable[[], T], what: str, seconds: float = 180) -> T:
    """The first answer of `condition` that is true; fails the test after a while."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)
    return answer


def processes(variable: str, value: object) -> dict[int, str]:
    """Command lines by process id of whatever runs with this variable in its environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{variable}={value}" in (folder / "environ").read_text(errors="replace").split(
                "\0"
            ):
                found[int(folder.name)] = (
                    (folder / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
                )
    return found


def end(home: Path) -> None:
    """End every process that runs with this PREFECT_HOME."""
    for number, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        for pid in processes("PREFECT_HOME", home):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while processes("PREFECT_HOME", home) and time.monotonic() < deadline:
            time.sleep(0.2)

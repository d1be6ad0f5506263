"""Prefect's server: asked before a flow starts, and reported in one line if it is lost."""

import json
import ssl
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from httpx import HTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.steps import prefect_database
from rnn_core.safe_text import safe, without_login

SECONDS = 10  # within which a busy server answers
RETRIES = 2  # of a request, 2 and 4 s later
REFUSED = (401, 403)  # answers of a server that wants a key, which Prefect itself asks for


def why_absent() -> str:
    """Return why no Prefect server answers at PREFECT_API_URL; nothing if one does or none is set.

    Without PREFECT_API_URL Prefect starts a server of its own for each flow.
    """
    address = PREFECT_API_URL.value()
    if address is None:
        return ""
    try:
        health = f"{without_login(address)}/health"
        with urlopen(health, timeout=SECONDS) as answer:  # noqa: S310 - http(s) only
            json.load(answer)
    except HTTPError as error:
        return "" if error.code in REFUSED else f"HTTP {error.code}"
    except URLError as error:
        # Prefect has settings of its own for certificates
        return "" if isinstance(error.reason, ssl.SSLError) else _in_words(error.reason)
    except OSError as error:
        return _in_words(error)
    except ValueError:
        return "something else answers"
    return ""


def _in_words(error: object) -> str:
    return getattr(error, "strerror", None) or str(error)


def absent(reason: str) -> str:
    """Return the line that says what to do if no server answers for this reason."""
    return (
        f"no Prefect server at {safe(str(PREFECT_API_URL.value()))} ({reason}); "
        "make up, or unset PREFECT_API_URL"
    )


def lost(reason: str) -> str:
    """Return the line for a server that does not answer any more, for this reason."""
    return f"{absent(reason)}; what was recorded until then stays: start again to complete it"


def refused(error: Exception) -> str:
    """Return the line for a server that answers, but with an error; nothing for other errors."""
    if not isinstance(error, HTTPStatusError) or not error.response.is_server_error:
        return ""
    address = str(PREFECT_API_URL.value())
    if not str(error.request.url).startswith(address):
        return ""
    return (
        f"the Prefect server at {safe(address)} answers HTTP {error.response.status_code}: it is "
        "busy or broken; what was recorded until then stays: start again to complete it"
    )


def few_retries() -> AbstractContextManager[object]:
    """Ask a server that is lost less often than Prefect's default, which takes minutes."""
    return temporary_settings({PREFECT_CLIENT_MAX_RETRIES: RETRIES})


def copy_of_own_database() -> Path | None:
    """Return the copy of the database of the server that Prefect starts for each flow.

    None if a server is named, which has a database of its own, or if there is nothing to copy.

    Raises:
        TrackingError: a newer release has changed the tables.
    """
    return prefect_database.copy_if_older() if PREFECT_API_URL.value() is None else None

"""The SQLite database of a Prefect server on this machine, before a newer release migrates it."""

from pathlib import Path

from prefect.settings import get_current_settings
from sqlalchemy.engine import make_url

from flows.tracking import copies


def copy_if_older() -> Path | None:
    """Copy the database if a server of the installed Prefect is going to change its tables.

    Returns the copy; None if there is nothing to copy, or the database is no SQLite file: the copy
    of another is its administrator's.

    Raises:
        TrackingError: a newer release has changed the tables.
    """
    settings = get_current_settings()
    written = settings.server.database.connection_url
    default = f"sqlite+aiosqlite:///{settings.home}/prefect.db"
    url = make_url(written.get_secret_value() if written else default)
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    database = Path(url.database)
    return copies.keep_copy(database, "prefect") if copies.is_older(database, "prefect") else None

"""Keep a copy of a SQLite database before a newer program changes its tables.

Prefect and MLflow migrate a database at their first look, and an older release refuses it from then
on. Both keep the revision of the tables in `alembic_version`, and their migrations as files.
"""

import re
import sqlite3
from contextlib import closing, suppress
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Literal

from rnn_core.errors import TrackingError

Program = Literal["mlflow", "prefect"]
MIGRATIONS: dict[Program, str] = {
    "mlflow": "mlflow/store/db_migrations/versions",
    "prefect": "prefect/server/database/_migrations/versions/sqlite",
}
REVISION = re.compile(r"^(down_)?revision\b[^=]*=(.*)$", re.MULTILINE)
QUOTED = re.compile(r"[\"'](\w+)[\"']")


def is_older(database: Path, program: Program) -> bool:
    """Return whether the installed release of the program is going to change the tables.

    Raises:
        TrackingError: a newer release has changed them; the installed one would refuse them.
    """
    revision = revision_of(database)
    known, latest = revisions(program)
    if revision is None or revision == latest:
        return False
    if revision not in known:
        raise TrackingError(
            f"{database} was changed by a newer {program} than {version(program)} (revision "
            f"{revision}); install that release again, or go back to a copy beside it"
        )
    return True


def keep_copy(database: Path, program: Program) -> Path:
    """Copy a database that the program is going to change; keep a copy that exists.

    Raises:
        TrackingError: it cannot be copied, and so must not be changed.
    """
    copy = database.with_name(f"{database.name}.before-{program}-{version(program)}")
    try:
        if not copy.exists():
            _copy(database, copy)
    except (OSError, sqlite3.Error) as error:
        raise TrackingError(
            f"{database} cannot be copied to {copy} ({error}), which {program} needs before it "
            "changes the tables"
        ) from error
    return copy


def revision_of(database: Path) -> str | None:
    """Return the revision of a database's tables; None if it is new or has none."""
    if not database.is_file():
        return None
    with suppress(sqlite3.Error), closing(_opened(database)) as connection:
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return str(rows[0][0]) if rows else None
    return None


def revisions(program: Program) -> tuple[set[str], str]:
    """Return the revisions that the installed release knows, and the latest.

    Read from its files: importing the program takes seconds.
    """
    scripts = Path(str(distribution(program).locate_file(MIGRATIONS[program])))
    known = set[str]()
    earlier = set[str]()
    for file in scripts.glob("*.py"):
        for is_earlier, value in REVISION.findall(file.read_text(encoding="utf-8")):
            (earlier if is_earlier else known).update(QUOTED.findall(value))
    [latest] = known - earlier
    return known, latest


def _copy(database: Path, copy: Path) -> None:
    """Copy what is committed, whoever writes meanwhile; an interrupted copy has another name."""
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with closing(_opened(database)) as source, closing(sqlite3.connect(unfinished)) as target:
        source.backup(target)
    unfinished.rename(copy)


def _opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)

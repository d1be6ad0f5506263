"""The database of the ledger: where it is, its migrations, its transactions, and its errors in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from rnn_core.errors import LedgerError

DEFAULT_URL = "sqlite:///data/ledger.db"
ALLOWED = "LEDGER_URL names an SQLite file or a PostgreSQL database, as in sqlite:///data/ledger.db"
# Whatever driver the URL names: that of MLflow's or Prefect's own URL may be another
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
MIGRATIONS = Path(__file__).parent / "migrations"
REVISIONS = sorted(path.stem[:4] for path in MIGRATIONS.glob("versions/[0-9]*.py"))  # oldest first
VERSION_TABLE = (
    "ledger_version"  # a name of its own, since MLflow may keep its tables in the same database
)
BUSY_SECONDS = 30
CONNECT_SECONDS = 10


def engine_at(address: str) -> Engine:
    """Return an engine for the URL `address`, whose errors are LedgerErrors of one line."""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise LedgerError(
            f"ledger address cannot be read as a URL; {ALLOWED}"
        ) from None  # it may hold a password
    backend = url.get_backend_name()
    if backend not in DRIVERS or url.database in (None, "", ":memory:"):
        raise LedgerError(f"ledger {_shown(url)}: {ALLOWED}")
    url = url.set(drivername=DRIVERS[backend])
    engine = _sqlite(url) if backend == "sqlite" else _postgresql(url)

    @event.listens_for(engine, "handle_error")
    def _in_one_line(context: ExceptionContext) -> None:
        if not isinstance(context.sqlalchemy_exception, DBAPIError):
            return
        reason = str(context.original_exception).strip().splitlines()[0]
        hint = "" if isinstance(context.sqlalchemy_exception, IntegrityError) else f"; {ALLOWED}"
        raise LedgerError(f"ledger {_shown(url)}: {reason}{hint}") from context.original_exception

    return engine


def _sqlite(url: URL) -> Engine:
    folder = Path(str(url.database).removeprefix("file:")).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            f"ledger {_shown(url)}: {folder} cannot be made ({error.strerror}); {ALLOWED}"
        ) from error
    # isolation_level None: Python begins no transaction of its own, so that BEGIN IMMEDIATE can be said
    engine = create_engine(url, connect_args={"isolation_level": None, "timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(url, connect_args={"connect_timeout": CONNECT_SECONDS})
    except ModuleNotFoundError as error:
        raise LedgerError(
            f"ledger {_shown(url)} needs {error.name}: pip install 'rnnflow[postgresql]'"
        ) from error


def _shown(url: URL) -> str:
    return url.set(query={}).render_as_string(hide_password=True)


def migrate(engine: Engine) -> None:
    """Make the tables, or bring them up to date, if they are not."""
    with engine.connect() as connection:
        if _revision(connection) == REVISIONS[-1]:
            return
    from alembic import command
    from alembic.config import Config

    with alone(engine, VERSION_TABLE) as connection:
        if _revision(connection) != REVISIONS[-1]:
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(MIGRATIONS))
            command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    """Revision of the tables, None if there are none; raises LedgerError if it is unknown."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = str(connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")))  # noqa: S608
    if found not in REVISIONS:
        raise LedgerError(
            f"ledger {_shown(connection.engine.url)} has revision {found}, the newest known is {REVISIONS[-1]}: "
            "it was written by a newer rnnflow; install that"
        )
    return found


@contextmanager
def alone(engine: Engine, *subject: str) -> Iterator[Connection]:
    """A transaction that waits until no other one on the same subject is open."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            digest = sha256("\n".join(subject).encode()).digest()
            key = int.from_bytes(digest[:8], "big", signed=True)
            connection.execute(select(func.pg_advisory_xact_lock(key)))
        yield connection

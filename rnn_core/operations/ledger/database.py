"""The database of the ledger: its address, migrations, transactions and one-line errors."""

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
ALLOWED = (
    "LEDGER_URL must name an SQLite file or a PostgreSQL database, such as sqlite:///data/ledger.db"
)
# Always these drivers: the URLs of MLflow and Prefect may name others for the same database
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
MIGRATIONS = Path(__file__).parent / "migrations"
REVISIONS = sorted(path.stem[:4] for path in MIGRATIONS.glob("versions/[0-9]*.py"))  # oldest first
VERSION_TABLE = "ledger_version"  # not Alembic's default: MLflow may use the same database
BUSY_SECONDS = 30
CONNECT_SECONDS = 10


def engine_at(address: str) -> Engine:
    """Return an engine for the database at the URL `address`.

    Every database error of the engine is raised as a LedgerError of one line, without a password.

    Raises:
        LedgerError: the URL is malformed, names another kind of database or one in memory, its
            folder cannot be created, or its driver is not installed.
    """
    url = _url(address)
    engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)

    @event.listens_for(engine, "handle_error")
    def _in_one_line(context: ExceptionContext) -> None:
        if not isinstance(context.sqlalchemy_exception, DBAPIError) or context.is_pre_ping:
            return
        original = context.original_exception
        reason = (str(original).strip() or type(original).__name__).splitlines()[0]
        hint = "" if isinstance(context.sqlalchemy_exception, IntegrityError) else f"; {ALLOWED}"
        raise LedgerError(f"ledger {shown(url)}: {reason}{hint}") from context.original_exception

    return engine


def migrate(engine: Engine) -> None:
    """Create the tables, or bring them up to date.

    Raises:
        LedgerError: a newer version of this program wrote the tables.
    """
    with engine.connect() as connection:
        if _revision(connection) == REVISIONS[-1]:
            return
    from alembic import command
    from alembic.config import Config

    with exclusive(engine, VERSION_TABLE) as connection:
        if _revision(connection) == REVISIONS[-1]:  # another process was faster
            return
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(config, "head")


@contextmanager
def exclusive(engine: Engine, *subject: str) -> Iterator[Connection]:
    """Open a transaction that waits until no other one on the same subject is open.

    On SQLite it waits for every other writer, whatever the subject.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(select(func.pg_advisory_xact_lock(key_of(*subject))))
        yield connection


def key_of(*subject: str) -> int:
    """Return the number by which PostgreSQL locks a subject."""
    digest = sha256("\n".join(subject).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def sqlite_file(url: URL) -> Path:
    """Return the file of an SQLite database."""
    return Path(str(url.database).removeprefix("file:"))


def shown(url: URL) -> str:
    """Return the URL as messages show it: without options and password."""
    return url.set(query={}).render_as_string(hide_password=True)


def _revision(connection: Connection) -> str | None:
    """Return the revision of the tables, or None if there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    query = text(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608
    revision = str(connection.scalar(query))
    if revision not in REVISIONS:
        raise LedgerError(
            f"ledger {shown(connection.engine.url)} has revision {revision}, the newest known is "
            f"{REVISIONS[-1]}: a newer rnnflow wrote it; install that version"
        )
    return revision


def _url(address: str) -> URL:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        # The address is not shown, as it may hold a password
        raise LedgerError(f"ledger address is not a valid URL; {ALLOWED}") from None
    backend = url.get_backend_name()
    if backend not in DRIVERS or url.database in (None, "", ":memory:"):
        raise LedgerError(f"ledger {shown(url)}: {ALLOWED}")
    return url.set(drivername=DRIVERS[backend])


def _sqlite(url: URL) -> Engine:
    folder = sqlite_file(url).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            f"ledger {shown(url)}: cannot create {folder} ({error.strerror}); {ALLOWED}"
        ) from error
    # isolation_level None: Python opens no transaction itself, so BEGIN IMMEDIATE is possible
    engine = create_engine(url, connect_args={"isolation_level": None, "timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            connect_args={"connect_timeout": CONNECT_SECONDS},
            pool_pre_ping=True,  # a connection may be older than the server, which was restarted
        )
    except ModuleNotFoundError as error:
        raise LedgerError(
            f"ledger {shown(url)} needs {error.name}: pip install 'rnnflow[postgresql]'"
        ) from error

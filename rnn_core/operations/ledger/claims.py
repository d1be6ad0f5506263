"""Claims: of several processes that start the same work, one does it and the others wait."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout
from sqlalchemy import Engine, func, select

from rnn_core.errors import LedgerError
from rnn_core.operations.ledger.database import key_of, shown, sqlite_file

LONGEST_WAIT = 30 * 60.0  # seconds: longer than any retraining of one ticker takes
BETWEEN_TRIES = 0.2  # seconds


@contextmanager
def claimed(engine: Engine, *subject: str) -> Iterator[None]:
    """Hold the claim on a subject; wait until nobody else holds it.

    A claim ends with the process that holds it, however that dies: the operating system unlocks a
    file beside an SQLite ledger, and a PostgreSQL server the lock of a connection that is gone.

    Args:
        engine: the ledger's.
        subject: words that name the work; together they can name a file.

    Raises:
        LedgerError: another process has held the claim for `LONGEST_WAIT` seconds, or the database
            or the file cannot be used.
    """
    hold = _locked_file if engine.dialect.name == "sqlite" else _locked_key
    with hold(engine, subject):
        yield


@contextmanager
def _locked_file(engine: Engine, subject: tuple[str, ...]) -> Iterator[None]:
    ledger = sqlite_file(engine.url)
    folder = ledger.with_name(f"{ledger.name}.claims")
    lock = FileLock(folder / f"{'-'.join(subject)}.lock")
    try:
        folder.mkdir(exist_ok=True)
        lock.acquire(timeout=LONGEST_WAIT, poll_interval=BETWEEN_TRIES)
    except Timeout:
        raise _taken(subject) from None
    except OSError as error:
        raise LedgerError(
            f"ledger {shown(engine.url)}: {folder} cannot be written ({error.strerror})"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _locked_key(engine: Engine, subject: tuple[str, ...]) -> Iterator[None]:
    lock = select(func.pg_try_advisory_lock(key_of(*subject)))
    deadline = time.monotonic() + LONGEST_WAIT
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")  # holds no transaction open
        connection.detach()  # at the end it is closed, which unlocks, and not kept in the pool
        while not connection.scalar(lock):
            if time.monotonic() > deadline:
                raise _taken(subject)
            time.sleep(BETWEEN_TRIES)
        yield


def _taken(subject: tuple[str, ...]) -> LedgerError:
    return LedgerError(
        f"{' '.join(subject)}: another process has been at work on it for {LONGEST_WAIT / 60:g} "
        "minutes; end that process, or start again later"
    )

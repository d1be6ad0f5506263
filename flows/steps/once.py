"""Retrain a ticker once for each session, however often and wherever that is started.

A start on the schedule has nothing to do if the session was retrained for. Any other start is a
user's wish, and so has nothing to do only if a run of the same settings has ended after the wish:
several starts at one moment are one wish.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime

from flows.steps import champions, unrecorded
from flows.steps.learning import session_of
from flows.tracking import queries, unfinished
from rnn_core.commands import Retrain
from rnn_core.identity import config_hash, settings_hash
from rnn_core.operations.ledger import Ledger

_ASKED_AT: ContextVar[datetime | None] = ContextVar("_ASKED_AT", default=None)


@contextmanager
def once_for_a_session(config: Retrain) -> Iterator[str | None]:
    """Yield the run that has retrained the ticker for its last closed session, None if none has.

    Other starts of the same retraining wait until the block ends; then they find its run, even if
    its prices ended before the session. `config.again` waits for nothing and yields None.

    Raises:
        LedgerError: another start has been retraining the ticker for half an hour.
        TrackingError: a lost run of the ticker cannot be closed.
    """
    if config.again:
        yield None
        return
    started = time.time()
    with (
        Ledger.open() as ledger,
        ledger.claim(config.ticker, config_hash(config), config.source.kind),
    ):
        unfinished.close_lost(config.ticker)  # who held the claim may have died after the work
        done = queries.retrained(config, session_of(config), config.ticker, since=started)
        run_id = done.get(config.ticker)
        yield run_id and completed(config, ledger, run_id)


@contextmanager
def asked_at(time: datetime) -> Iterator[None]:
    """Count the wish of a flow in the block from `time`, when its command was started at the shell.

    Without it a wish counts from the run's start, and the imports before it take longer than a
    small retraining.
    """
    before = _ASKED_AT.set(time)
    try:
        yield
    finally:
        _ASKED_AT.reset(before)


@contextmanager
def once_for_a_wish(config: Retrain, started: datetime) -> Iterator[str | None]:
    """Yield the run that has retrained just so for the session since the wish, None if none has.

    The wish was made at `started`, the start of this run, or earlier: see `asked_at`. Other starts
    with the same settings wait until the block ends; then they find its run. A run that was killed
    after its version was judged is found by the next wish, whenever that is. `config.again` waits
    for nothing and yields None.

    Raises:
        LedgerError: another start has been retraining the ticker for half an hour.
        TrackingError: a lost run of the ticker cannot be closed.
    """
    if config.again:
        yield None
        return
    wished_at = _ASKED_AT.get() or started
    with Ledger.open() as ledger, ledger.claim(config.ticker, settings_hash(config)):
        unfinished.close_lost(config.ticker)
        since = wished_at.timestamp()
        done = queries.retrained_alike(config, session_of(config), since)
        yield done and completed(config, ledger, done)


def completed(config: Retrain, ledger: Ledger, run_id: str) -> str:
    """Return the run that has done the work, after the last steps, at which it may have ended."""
    champions.follow_if_behind(ledger, config.ticker)
    unrecorded.forget(config)
    unfinished.take(run_id)
    return run_id


def was_done(config: Retrain, run_id: str) -> str:
    """Return a sentence that names the run and the option to retrain nevertheless."""
    return (
        f"{config.ticker} was retrained for {session_of(config)} (run {run_id}); "
        "--again retrains it"
    )

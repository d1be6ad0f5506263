"""The champion of a ticker: decided in the ledger, and then followed by the alias in MLflow.

A tag of the registered model names the decision that the alias has followed last. If that is an
earlier one, a process was killed before the alias followed, which is done later. If it is the last
one and the alias is elsewhere, a user has moved the alias, which the ledger then takes down.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from flows.tracking import registry
from rnn_core.operations.ledger import Decision, Ledger
from rnn_core.operations.promotion import Candidate


@contextmanager
def deciding(ledger: Ledger, ticker: str) -> Iterator[tuple[Decision, bool]]:
    """Open a decision on a ticker's champion; nobody else decides on it meanwhile.

    Yields the decision, and whether the one before was unfinished: then the alias has followed it
    only now. The alias follows a new decision once the ledger has written it.
    """
    with ledger.deciding(ticker) as decision:
        unfinished = _follow(decision)
        if registry.followed(ticker) != decision.names[-1]:
            registry.follow(ticker, decision.names[-1])
        yield decision, unfinished
    follow_if_behind(ledger, ticker)


def champion(ledger: Ledger, ticker: str) -> Candidate | None:
    """Return the champion of the ticker, None if it has none.

    Raises:
        ChampionMissing: the champion's run was deleted.
    """
    follow_if_behind(ledger, ticker)
    return registry.champion(ticker)


def tickers_with_champion(ledger: Ledger) -> list[str]:
    """Return the tickers that have a champion, in order."""
    for ticker in ledger.decided().difference(registry.tickers_with_champion()):
        follow_if_behind(ledger, ticker)
    return registry.tickers_with_champion()


def note_champion_by_hand(decision: Decision, champion: Candidate | None, at: datetime) -> None:
    """Record a champion that the ledger does not know: a user has set its alias."""
    if champion is None or decision.champions[-1:] == [champion.version]:
        return
    decision.promote(
        champion.version, reason="found as the champion", run_id=champion.run_id, at=at
    )


def follow_if_behind(ledger: Ledger, ticker: str) -> None:
    """Let the alias follow the ledger, if it does not, while nobody decides."""
    if _is_behind(ledger.decisions(ticker), registry.followed(ticker)):
        with ledger.deciding(ticker) as decision:
            _follow(decision)


def _follow(decision: Decision) -> bool:
    """Let the alias follow the last decision, and return True if it had not yet."""
    ticker = decision.ticker
    names = decision.names
    if not _is_behind(names, registry.followed(ticker)):
        return False
    registry.set_champion_alias(ticker, decision.champions[-1])
    registry.follow(ticker, names[-1])
    return True


def _is_behind(decisions: list[str], followed: str | None) -> bool:
    """Return True if the alias has followed an earlier decision of this ledger, and not the last.

    Decisions of another ledger, or of an older version, are unknown: the alias leads.
    """
    return followed in decisions[:-1]

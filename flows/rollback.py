"""Return to an earlier champion: `python -m flows.rollback --ticker MSFT`.

`--to VERSION` names it. If a rollback was interrupted, the same command finishes it. A scheduled
retrain may promote another champion later.
"""

from contextlib import suppress
from datetime import datetime

from flows import command_line
from flows.steps.champions import deciding, note_champion_by_hand
from flows.steps.prefect_runs import announce
from flows.tracking import registry, serving
from flows.tracking.unfinished import close_lost
from rnn_core.commands import Rollback
from rnn_core.errors import ChampionMissing
from rnn_core.operations.ledger import Decision, Ledger


def roll_back(ticker: str, at: datetime, to: int | None = None) -> int:
    """Return to the champion before the present one, or to `to`, and return its version.

    Any version of the ticker may be named, whether it was champion before or not.

    Raises:
        LedgerError: there is no earlier champion.
        ConfigError: there is no version `to` of the ticker.
        ChampionMissing: the version to return to was deleted, or is damaged.
        TrackingError: a lost run of the ticker cannot be closed.
    """
    close_lost(ticker)
    with Ledger.open() as ledger, deciding(ledger, ticker) as (decision, unfinished):
        with suppress(ChampionMissing):  # one that cannot be used is none to return to later
            note_champion_by_hand(decision, registry.champion(ticker), at)
        version = _target(decision, to, unfinished)
        _return_to(decision, version, at)
    announce("rollback", ticker, f"version {version} is the champion again")
    return version


def _target(decision: Decision, to: int | None, unfinished: bool) -> int:
    """Return the version to return to; if a rollback was unfinished, that of this rollback."""
    if to is not None:
        return to
    last = decision.last
    if unfinished and last is not None and last.kind == "rollback":
        return int(last.model_version)
    return decision.champion_before()


def _return_to(decision: Decision, version: int, at: datetime) -> None:
    """Record the return to a version that can forecast, unless it is the last champion already."""
    run_id = registry.run_of(decision.ticker, version)
    serving.refuse_unusable(decision.ticker, version, run_id)
    champions = decision.champions
    if champions[-1:] == [version]:
        registry.set_champion_alias(decision.ticker, version)  # a user may have taken it away
    elif version in champions:
        decision.roll_back(to=version, reason="asked for", at=at)
    else:
        decision.promote(version, reason="asked for", run_id=run_id, at=at)


def main(config: Rollback) -> None:
    """Return to an earlier champion, and print which it is."""
    version = roll_back(config.ticker, config.time, config.to)
    model = registry.model_name(config.ticker)
    command_line.say(f"{model} version {version} is the champion again")


if __name__ == "__main__":
    command_line.run(Rollback, main)

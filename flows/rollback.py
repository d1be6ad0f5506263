"""Return to an earlier champion: `python -m flows.rollback --ticker MSFT`.

A scheduled retrain may promote another champion later.
"""

from contextlib import suppress
from datetime import datetime

from flows import command_line
from flows.steps.prefect_runs import announce
from flows.steps.promotion import note_unknown_champion
from flows.tracking import registry
from rnn_core.commands import Rollback
from rnn_core.errors import ChampionMissing
from rnn_core.operations.ledger import Ledger


def roll_back(ticker: str, at: datetime) -> int:
    """Return to the champion before the present one, and return its version.

    Raises:
        LedgerError: there is no earlier champion.
        ChampionMissing: the earlier champion was deleted.
    """
    with Ledger.open() as ledger, ledger.deciding(ticker) as decision:
        with suppress(ChampionMissing):  # one that cannot be used is none to return to later
            note_unknown_champion(decision, registry.champion(ticker), at)
        earlier = decision.roll_back(reason="asked for", at=at)
        registry.set_champion_alias(ticker, earlier)
    announce("rollback", ticker, f"version {earlier} is the champion again")
    return earlier


def main(config: Rollback) -> None:
    """Return to the champion before the present one, and print which it is."""
    version = roll_back(config.ticker, config.time)
    model = registry.model_name(config.ticker)
    command_line.say(f"{model} version {version} is the champion again")


if __name__ == "__main__":
    command_line.run(Rollback, main)

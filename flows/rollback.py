"""Return to an earlier champion: `python -m flows.rollback --ticker MSFT`. A schedule may promote a new one later."""

from datetime import datetime

from flows import command_line
from flows.steps.prefect_runs import announce
from flows.steps.promotion import catch_up
from flows.tracking import registry
from rnn_core.commands import Rollback
from rnn_core.operations.ledger import Ledger


def roll_back(ticker: str, at: datetime) -> int:
    """Return to the champion before the present one; its version.

    Raises:
        LedgerError: there is none.
        ChampionMissing: it was deleted.
    """
    with Ledger.open() as ledger, ledger.deciding(ticker) as decision:
        catch_up(decision, registry.champion(ticker), at)
        earlier = decision.roll_back(reason="asked for", at=at)
        registry.set_champion_alias(ticker, earlier)
    announce("rollback", ticker, f"version {earlier} is the champion again")
    return earlier


def main(config: Rollback) -> None:
    """Make the champion before the present one the champion again, and say so."""
    version = roll_back(config.ticker, config.time)
    command_line.say(
        f"{registry.model_name(config.ticker)} version {version} is the champion again"
    )


if __name__ == "__main__":
    command_line.run(Rollback, main)

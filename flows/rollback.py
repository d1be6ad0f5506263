"""Return to an earlier champion: `python -m flows.rollback --ticker MSFT`. A schedule may promote a new one later."""

from flows import command_line
from flows.promotion import roll_back
from rnn_core.config import Rollback


def main(config: Rollback) -> None:
    """Make the champion before the present one the champion again, and say so."""
    version = roll_back(config.ticker, config.time)
    command_line.say(f"direction-{config.ticker} version {version} is the champion again")


if __name__ == "__main__":
    command_line.run(Rollback, main)

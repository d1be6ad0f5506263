"""`retrain-universe` from the shell: `python -m flows.universe --tickers MSFT,AAPL`."""

from importlib import import_module

from rich.table import Table

from flows import command_line
from flows.universe.processes import prepare
from rnn_core.commands import RetrainUniverse


def start(config: RetrainUniverse) -> None:
    """Let the processes import what they need, and import the flow meanwhile."""
    prepare(config.runner)
    import_module("flows.universe.flow")


def main(config: RetrainUniverse) -> None:
    """Run the flow in this process and print the champion of each ticker."""
    from flows.steps.tickers import Outcomes
    from flows.universe.flow import retrain_universe

    standings = retrain_universe(**dict(config))
    if not isinstance(standings, Outcomes):
        return
    table = Table("ticker", "champion", "verdict", "accuracy", "prices to")
    for ticker, standing in standings.items():
        champion = standing.champion
        promise = standing.promise
        table.add_row(
            ticker,
            f"version {champion.version}" if champion else "none",
            champion.verdict if champion else "",
            f"{promise.accuracy:.1%}" if promise else "",
            str(standing.last_price),
        )
    for ticker, reason in standings.failed.items():
        table.add_row(ticker, "failed", reason)
    command_line.show(table)


if __name__ == "__main__":
    command_line.run(RetrainUniverse, main, first=start)

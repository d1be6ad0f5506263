"""`retrain-universe` from the shell: `python -m flows.universe --tickers MSFT,AAPL`."""

from importlib import import_module

from rich.table import Table

from flows import command_line
from flows.universe.processes import prepare
from rnn_core.commands import RetrainUniverse


def start(config: RetrainUniverse) -> None:
    """Have the processes import what they need, and import the flow meanwhile."""
    prepare(config.runner)
    import_module("flows.universe.flow")


def main(config: RetrainUniverse) -> None:
    """Run the flow in this process and print what came of each ticker."""
    from flows.steps.tickers import Outcomes
    from flows.universe.flow import retrain_universe

    outcomes = retrain_universe(
        **{name: getattr(config, name) for name in RetrainUniverse.model_fields}
    )
    if not isinstance(outcomes, Outcomes):
        return
    table = Table("ticker", "champion", "verdict", "accuracy", "prices to")
    for ticker, found in outcomes.items():
        champion, promise = found.champion, found.promise
        said = (f"version {champion.version}", champion.verdict) if champion else ("none", "")
        table.add_row(
            ticker, *said, f"{promise.accuracy:.1%}" if promise else "", str(found.last_price)
        )
    for ticker, reason in outcomes.failed.items():
        table.add_row(ticker, "failed", reason)
    command_line.show(table)


if __name__ == "__main__":
    command_line.run(RetrainUniverse, main, first=start)

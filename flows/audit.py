"""Flow `audit`: how often the verdict finds skill in surrogates of a ticker's own prices.

Run it with `python -m flows.audit --ticker MSFT` and the options of `retrain`.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from logging import INFO, WARNING

from prefect import get_run_logger, task
from prefect.runtime import flow_run as this_run
from rich.table import Table

from flows import command_line
from flows.steps.command_flow import command_flow
from flows.steps.prefect_runs import IN_MEMORY, artifact_key, progress, publish
from flows.steps.prices import prices_or_fallback, yahoo_slot
from flows.tracking import answers, records, runs
from flows.universe.processes import performer, prepare
from rnn_core.commands import Audit
from rnn_core.config import Runner
from rnn_core.data.prices import Prices
from rnn_core.evaluation.audit import Findings, Piece, count_skill, count_test_days
from rnn_core.nn.engines import usable_cores
from rnn_core.reporting import figures
from rnn_core.safe_text import in_markdown

RUNNER = Runner(kind="processes")


@dataclass(frozen=True)
class Outcome:
    """The findings of an audit, and where to see them.

    Attributes:
        ticker: of the prices that surrogates were made of.
        findings: how often skill was found in them.
        how_to_open: URL of the MLflow run, or a command that serves it.
    """

    ticker: str
    findings: Findings
    how_to_open: str

    def table(self) -> Table:
        """Return the counts for the terminal."""
        title = f"{self.ticker}: skill found in surrogates, {self.findings.test_days} test days"
        table = Table("direction", "skill found in", title=title, title_justify="left")
        for count in self.findings.counts:
            table.add_row(count.name, str(count))
        return table

    def markdown(self) -> str:
        """Return the same, and what it means, for a Prefect artifact and the MLflow run."""
        findings = self.findings
        rows = [
            f"| {in_markdown(count.name)} | {in_markdown(str(count))} |"
            for count in findings.counts
        ]
        table = ["| direction | skill found in |", "|---|---|", *rows]
        sentences = [in_markdown(findings.meaning), "", in_markdown(findings.promise)]
        return "\n".join(
            [
                f"### {in_markdown(self.ticker)}",
                "",
                *sentences,
                "",
                *table,
                "",
                f"`{self.how_to_open}`",
            ]
        )


@command_flow(Audit, first=["ticker"], flow_run_name="audit-{ticker}")
def audit(config: Audit) -> Outcome:
    """Return how often skill was found where there is none and where it was planted."""
    prepare(RUNNER)
    with yahoo_slot(config.source):
        prices = prices_or_fallback(config.source, config.ticker, config.time)
    count_test_days(config, prices)  # refuses prices that are too few
    tags = {"ticker": config.ticker, "engine": config.training.engine} | records.data_tags(prices)
    with runs.start("audit", config.ticker, config, tags, str(this_run.id)) as run_id:
        findings = judge_surrogates(config, prices)
        drawn = figures.rendered({"audit.png": figures.power_curve(findings, config.ticker)})
        answers.log_audit(run_id, findings, drawn["audit.png"])
        outcome = Outcome(config.ticker, findings, runs.how_to_open(run_id))
        records.describe(run_id, outcome.markdown())
    severity = WARNING if findings.broken or findings.peeking else INFO
    get_run_logger().log(severity, findings.promise)
    publish(outcome.markdown(), key=artifact_key(f"audit-{config.ticker}"))
    return outcome


@task(name="judge surrogates", **IN_MEMORY)
def judge_surrogates(config: Audit, prices: Prices) -> Findings:
    """Judge each surrogate in one of the processes, one a core, and show the progress."""
    return count_skill(config, prices, _over_processes)


def _over_processes(
    finds_skill: Callable[[Piece], bool], pieces: Sequence[Piece]
) -> Iterator[bool]:
    """Yield what `finds_skill` returns for each piece, in order."""
    with (
        ThreadPoolExecutor(usable_cores()) as threads,
        performer(RUNNER, len(pieces)) as perform,
        progress(len(pieces), "series") as advance,
    ):
        work = [partial(finds_skill, piece) for piece in pieces]
        try:
            for done, found in enumerate(threads.map(perform, work), start=1):
                advance(done, "")
                yield found
        finally:  # `map` does so itself, unless it is interrupted while it shares the work out
            threads.shutdown(wait=False, cancel_futures=True)


def main(config: Audit) -> None:
    """Run the flow in this process and print its findings."""
    outcome = audit(**dict(config))
    command_line.show(outcome.table())
    command_line.say(outcome.findings.meaning)
    command_line.say(outcome.findings.promise)
    command_line.say(f"MLflow: {outcome.how_to_open}")


if __name__ == "__main__":
    command_line.run(Audit, main)

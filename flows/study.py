"""Flow `study`: the classic lessons on recurrent networks. Run one with `python -m flows.study --name sine-synced`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run as this_run
from rich.table import Table

from flows import command_line
from flows.steps.prefect_runs import close_tracked_run
from flows.steps.prices import prices_or_fallback, yahoo_slot
from flows.steps.tasks import build_sequences, find_and_plot, make_data, train
from flows.tracking import records, runs
from rnn_core.commands import DEFAULT_TICKER, Study, StudyName
from rnn_core.config import Source, StudyTraining, Yahoo
from rnn_core.reporting import figures
from rnn_core.studies.lesson import Finding, Trained, Variant


@dataclass(frozen=True)
class Outcome:
    """What a study found, and where to see it.

    Attributes:
        name: the lesson.
        finding: what it found.
        seconds: of training, by variant.
        run_id: the MLflow run.
        address: how to open it.
    """

    name: StudyName
    finding: Finding
    seconds: dict[str, float]
    run_id: str
    address: str

    def table(self) -> Table:
        """For the terminal: the sentences, and the figures below them."""
        said = "\n".join([self.name, *self.finding.sentences])
        table = Table(title=said, title_justify="left", title_style="", show_header=False)
        for metric, value in self.finding.metrics.items():
            table.add_row(metric, f"{value:.6g}")
        table.add_row(
            "seconds", ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        )
        return table

    def markdown(self) -> str:
        """For a Prefect artifact and the head of the MLflow run."""
        metrics = [f"| {metric} | {value:.6g} |" for metric, value in self.finding.metrics.items()]
        lines = [
            f"### {self.name}",
            "",
            *self.finding.sentences,
            "",
            "| | |",
            "|---|---|",
            *metrics,
        ]
        return "\n".join([*lines, "", f"`{self.address}`"])


@flow(
    flow_run_name="study-{name}",
    on_cancellation=[close_tracked_run],
    on_crashed=[close_tracked_run],
    persist_result=False,
)
def study(
    name: StudyName = "direction-from-scratch",
    language: Literal["en", "ko"] = "en",
    size: float = 1.0,
    ticker: str | None = None,
    source: Source | None = None,
    training: StudyTraining = StudyTraining(),
    now: datetime | None = None,
) -> Outcome:
    """Run one classic lesson on recurrent networks through the tasks of the daily job.

    Args:
        name: Lesson to run
        language: Language of figures and findings: English or Korean
        size: Share of the examples; below 1 for a quick look
        ticker: Ticker as Yahoo spells it, for direction-from-scratch alone
        source: Where the prices of direction-from-scratch come from
        training: What to change of the training
        now: Time to run as of, such as 2013-02-28T22:00:00Z; empty: the clock
    """
    config = _legible(
        Study(
            name=name,
            language=language,
            size=size,
            ticker=ticker,
            source=source,
            training=training,
            now=now,
        )
    )
    real, symbol = bool(config.ticker or config.source), config.ticker or DEFAULT_TICKER
    engines = (
        "numpy, torch" if config.name == "engines-agree" else config.training.engine or "numpy"
    )
    tags = {"study": config.name, "engine": engines} | ({"ticker": symbol} if real else {})
    with runs.run("study", config.name, config, tags, str(this_run.id)) as run_id:
        if real:
            source = config.source or Yahoo()
            with yahoo_slot(source):
                data: Any = prices_or_fallback(source, symbol, config.now or datetime.now(UTC))
            runs.log(run_id, tags=records.data_tags(data))
        else:
            data = make_data(config)
        variants = build_sequences(config, data)
        if not real:
            records.log_made_data(run_id, next(iter(variants.values())).sequences)
        trained = {variant: _timed(parts) for variant, parts in variants.items()}
        finding = find_and_plot(config, data, trained)
        records.log_study(run_id, trained, finding)
    seconds = {variant: one.seconds for variant, one in trained.items()}
    outcome = Outcome(config.name, finding, seconds, run_id, runs.address(run_id))
    records.describe(run_id, outcome.markdown())
    create_markdown_artifact(outcome.markdown(), key=f"study-{config.name}")
    return outcome


def _legible(config: Study) -> Study:
    """The configuration, in English if there is no font to write Korean with."""
    if config.language == "ko" and figures.hangul_font() is None:
        get_run_logger().warning(
            "no font with Hangul is found, so this is in English; install koreanize-matplotlib"
        )
        return config.model_copy(update={"language": "en"})
    return config


def _timed(parts: Variant) -> Trained:
    before = perf_counter()
    fit = train(
        parts.model, parts.training, parts.sequences, parts.folds, parts.params0, parts.order
    )
    return Trained(parts, fit, perf_counter() - before)


def main(config: Study) -> None:
    """Run the flow in this process and print what it found."""
    outcome = study(**{name: getattr(config, name) for name in Study.model_fields})
    command_line.show(outcome.table())
    command_line.say(f"MLflow: {outcome.address}")


if __name__ == "__main__":
    command_line.run(Study, main)

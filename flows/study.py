"""Flow `study`: classic studies of recurrent networks.

Run one with `python -m flows.study --name sine-synced`.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from prefect import get_run_logger
from prefect.runtime import flow_run as this_run
from rich.table import Table

from flows import command_line
from flows.steps import looks
from flows.steps.command_flow import command_flow
from flows.steps.prefect_runs import publish
from flows.steps.prices import prices_or_fallback, yahoo_slot
from flows.steps.tasks import build_sequences, find_and_plot, make_data, train
from flows.tracking import answers, records, runs
from rnn_core.commands import DEFAULT_TICKER, Study, StudyName
from rnn_core.config import Yahoo
from rnn_core.reporting import figures
from rnn_core.safe_text import in_markdown
from rnn_core.studies.direction import tested
from rnn_core.studies.study import Finding, Trained, Variant, Variants


@dataclass(frozen=True)
class Outcome:
    """The finding of a study, and where to see it.

    Attributes:
        name: name of the study.
        finding: its sentences, metrics, figures and files.
        seconds: training time by variant.
        run_id: the MLflow run.
        how_to_open: URL of the run, or a command that serves it.
    """

    name: StudyName
    finding: Finding
    seconds: dict[str, float]
    run_id: str
    how_to_open: str

    def table(self) -> Table:
        """Return the sentences with the metrics below them, for the terminal."""
        title = "\n".join([self.name, *self.finding.sentences])
        table = Table(title=title, title_justify="left", title_style="", show_header=False)
        for metric, value in self.finding.metrics.items():
            table.add_row(metric, f"{value:.6g}")
        seconds = [f"{variant} {elapsed:.1f}" for variant, elapsed in self.seconds.items()]
        table.add_row("seconds", ", ".join(seconds))
        return table

    def markdown(self) -> str:
        """Return the same for a Prefect artifact and the head of the MLflow run."""
        metrics = [
            f"| {in_markdown(metric)} | {value:.6g} |"
            for metric, value in self.finding.metrics.items()
        ]
        sentences = [f"### {self.name}", "", *map(in_markdown, self.finding.sentences), ""]
        table = ["| | |", "|---|---|", *metrics, ""]
        return "\n".join([*sentences, *table, f"`{self.how_to_open}`"])


@command_flow(Study, flow_run_name="study-{name}")
def study(config: Study) -> Outcome:
    """Return what the study found."""
    config = _in_a_language_with_a_font(config)
    with runs.start("study", config.name, config, _tags(config), str(this_run.id)) as run_id:
        data, variants = _data_and_variants(config, run_id)
        trained = {variant: _train(parts) for variant, parts in variants.items()}
        finding = find_and_plot(config, data, trained)
        answers.log_study(run_id, trained, finding)
    seconds = {variant: result.seconds for variant, result in trained.items()}
    outcome = Outcome(config.name, finding, seconds, run_id, runs.how_to_open(run_id))
    records.describe(run_id, outcome.markdown())
    publish(outcome.markdown(), key=f"study-{config.name}")
    return outcome


def _in_a_language_with_a_font(config: Study) -> Study:
    """Return the configuration, changed to English if no font can write Korean."""
    if config.language == "ko" and figures.hangul_font() is None:
        get_run_logger().warning(
            "no font with Hangul is found, so this is in English; install koreanize-matplotlib"
        )
        return config.model_copy(update={"language": "en"})
    return config


def _uses_real_prices(config: Study) -> bool:
    return bool(config.ticker or config.source)


def _tags(config: Study) -> dict[str, str]:
    engine = config.training.engine or "numpy"
    both_engines = config.name == "engines-agree"
    tags = {"study": config.name, "engine": "numpy, torch" if both_engines else engine}
    if _uses_real_prices(config):
        tags["ticker"] = config.ticker or DEFAULT_TICKER
    return tags


def _data_and_variants(config: Study, run_id: str) -> tuple[Any, Variants]:
    """Return what the study learns from, tagged in its run, and what it trains."""
    if _uses_real_prices(config):
        source = config.source or Yahoo()
        with yahoo_slot(source):
            prices = prices_or_fallback(source, config.ticker or DEFAULT_TICKER, config.time)
        runs.log(run_id, tags=records.data_tags(prices))
        variants = build_sequences(config, prices)
        looks.ask(config, prices, tested(prices, variants), run_id)
        return prices, variants
    data = make_data(config)
    variants = build_sequences(config, data)
    first_variant = next(iter(variants.values()))
    answers.log_made_data(run_id, first_variant.sequences)
    return data, variants


def _train(parts: Variant) -> Trained:
    before = perf_counter()
    fit = train(
        parts.model, parts.training, parts.sequences, parts.folds, parts.params0, parts.order
    )
    return Trained(parts, fit, perf_counter() - before)


def main(config: Study) -> None:
    """Run the flow in this process and print its finding."""
    outcome = study(**dict(config))
    command_line.show(outcome.table())
    command_line.say(f"MLflow: {outcome.how_to_open}")


if __name__ == "__main__":
    command_line.run(Study, main)

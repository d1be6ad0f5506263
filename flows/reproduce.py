"""Flow `reproduce`: repeat a run, and compare its bits. Run it with `python -m flows.reproduce`.

`--run ID` names a run of `retrain`, or of one ticker of a universe. It is trained and judged again
on the prices it saw, with its configuration, as the look at these days that it was. Nothing is
registered and no look is counted.
"""

from collections.abc import Iterator, Sequence

from prefect import get_run_logger
from prefect.runtime import flow_run as this_run

from flows import command_line
from flows.steps.command_flow import command_flow
from flows.steps.prefect_runs import artifact_key, publish
from flows.steps.summary import Laps
from flows.steps.tasks import build_windows, evaluate_and_plot, train
from flows.tracking import answers, records, runs
from flows.tracking.recorded import Recorded, recorded
from flows.tracking.versions import versions
from rnn_core.commands import Reproduce
from rnn_core.data.prices import Prices
from rnn_core.errors import ReproductionError
from rnn_core.operations.reproduction import Difference, Results, differences, other_versions
from rnn_core.safe_text import in_markdown


@command_flow(Reproduce, first=["run"], flow_run_name="reproduce-{run}")
def reproduce(config: Reproduce) -> str:
    """Return in one line that every bit is the same; fail if one is not, and log which."""
    before = recorded(config.run)
    prices = before.prices()
    ticker = before.config.ticker
    tags = {"ticker": ticker, "reproduced.run": config.run}
    with runs.start("reproduce", ticker, config, tags, str(this_run.id)) as run_id:
        records.log_prices(run_id, prices)
        results, versions_now = _repeated(before, prices)
        differing = differences(before.results, results)
        changed = other_versions(before.versions, versions_now)
        outcome = _outcome(before, differing, changed)
        answers.log_reproduction(run_id, outcome, differing, changed)
    publish(in_markdown(outcome), key=artifact_key(f"reproduce-{ticker}"))
    for difference in differing:
        get_run_logger().warning(str(difference))
    if differing:
        raise ReproductionError(outcome)
    return outcome


def _repeated(before: Recorded, prices: Prices) -> tuple[Results, dict[str, str]]:
    """Train and judge as the run did; return what that gives, and with which versions."""
    config = before.config
    windows, folds = build_windows(config.problem, config.evaluation, prices)
    fit = train(config.model, config.training, windows, folds)
    no_figures: tuple[str, ...] = ()
    evaluation, _ = evaluate_and_plot(
        fit, windows, folds, config.evaluation, before.look, config.ticker, Laps(), no_figures
    )
    return records.training_results(fit, evaluation), versions(fit)


def _outcome(before: Recorded, differing: Sequence[Difference], changed: dict[str, str]) -> str:
    name = f"run {before.run.info.run_id} is"
    others = "; ".join(f"{version} {values}" for version, values in changed.items())
    note = f"; other versions: {others}" if changed else ""
    if differing:
        parts = _differing_parts(before.results, differing)
        return f"{name} not reproduced: {', '.join(parts)} differ{note}"
    calls = len(before.results["calls"]["date"])
    arrays = len(before.results["arrays"])
    metrics = len(before.results["metrics"])
    verdict = before.run.data.tags["verdict.headline"]
    return (
        f"{name} reproduced bit for bit: {calls} calls, {arrays} arrays, {metrics} metrics, "
        f"verdict {verdict}{note}"
    )


def _differing_parts(results: Results, differing: Sequence[Difference]) -> Iterator[str]:
    """Yield the parts that differ, each with how many items and the largest difference."""
    for part, items in results.items():
        of_part = [difference for difference in differing if difference.part == part]
        if of_part:
            worst = max(of_part, key=lambda difference: difference.largest or 0.0)
            largest = f", {worst.item} by up to {worst.largest:.3g}" if worst.largest else ""
            yield f"{part} ({len(of_part)} of {len(items)}{largest})"


def main(config: Reproduce) -> None:
    """Run the flow in this process and print its one line."""
    command_line.say(reproduce(**dict(config)))


if __name__ == "__main__":
    command_line.run(Reproduce, main)

"""Flow `prune`: delete files of old runs. Run it with `python -m flows.prune --days 90 --keep 10`.

The vintages of prices that only pruned runs saw are deleted too. Those that a forecast in the
ledger was made from stay, and so do those that other vintages are differences from. Of each
question in the ledger the vintage that it was asked of last stays, so a question that is asked
daily keeps one. Questions about synthetic prices, which are others each day, keep none. Old
trainings that no run could record are deleted as well.

Runs that are RUNNING although nobody works on them any more, such as those of a machine that was
lost, are closed first, and what they left half done is deleted. A run keeps its files while it is
running, and if its model has an alias, is named in the ledger or is registered by another name.
After an interruption, prune again to go on.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound

from flows import command_line
from flows.steps import unrecorded
from flows.steps.command_flow import command_flow
from flows.tracking import queries, registry, runs, unfinished
from flows.tracking.runs import TrackedRun
from rnn_core.commands import Prune
from rnn_core.data import vintages
from rnn_core.data.prices import is_synthetic
from rnn_core.operations.ledger import Ledger

FLOWS = (
    *("retrain", "retrain-universe", "forecast", "score", "study"),
    *("compare", "reproduce", "audit"),
)
PRUNED = "pruned"
PRUNED_BEFORE = "pruned before"
OF_USE = "of use"
KEPT = "kept"
VINTAGES_DELETED = "vintages deleted"
VINTAGES_KEPT = "vintages kept"


@command_flow(Prune)
def prune(config: Prune) -> dict[str, int]:
    """Return how many runs were `pruned`, are old but `of use`, and were `kept`.

    And how many vintages of prices were deleted and kept.
    """
    before = int((config.time - timedelta(days=config.days)).timestamp() * 1000)
    _close_lost_runs(before)
    counts = {PRUNED: 0, OF_USE: 0, KEPT: 0}
    pruned_prices = set[str]()
    prices_of_use = set[str]()
    with Ledger.open() as ledger:
        for run, outcome in _outcomes(config.keep, before, ledger):
            prices = pruned_prices if outcome in (PRUNED, PRUNED_BEFORE) else prices_of_use
            prices.add(run.data.tags.get("data.sha256", ""))
            if outcome != PRUNED_BEFORE:
                counts[outcome] += 1
        prices_of_use.update(ledger.prices_forecast_from())
        prices_of_use.update(_asked_last(ledger))
    unrecorded.delete(before / 1000)
    counts[VINTAGES_DELETED], counts[VINTAGES_KEPT] = vintages.delete(pruned_prices - prices_of_use)
    get_run_logger().info(_in_words(counts))
    return counts


def _outcomes(keep: int, before: int, ledger: Ledger) -> Iterator[tuple[TrackedRun, str]]:
    """Prune the runs that are old and of no use; yield every run and what was done to it."""
    looked_at = Counter[tuple[str, str]]()  # runs by experiment and ticker, the latest first

    @cache
    def versions_of_use(ticker: str) -> set[int]:
        return ledger.versions(ticker) | registry.versions_with_alias(ticker)

    for run in queries.search("", FLOWS):
        if "pruned" in run.data.tags:
            yield run, PRUNED_BEFORE
            continue
        kind = (run.info.experiment_id, _ticker(run))
        looked_at[kind] += 1
        is_young = run.info.start_time >= before
        if looked_at[kind] <= keep or is_young or run.info.status == "RUNNING":
            yield run, KEPT
        else:
            yield run, _prune(run, versions_of_use)


def _asked_last(ledger: Ledger) -> Iterator[str]:
    """Yield the SHA-256 of the real prices that each question was asked of last."""
    latest = ledger.looks().drop_duplicates(["settings", "revision"], keep="last")
    for look in latest.itertuples():
        if not is_synthetic(str(look.source)):
            yield str(look.sha256)


def _prune(run: TrackedRun, versions_of_use: Callable[[str], set[int]]) -> str:
    """Delete the files of a run unless its model is of use; return which it was."""
    ticker = _ticker(run)
    versions = registry.registered(run.info.run_id)
    for name, version in versions:
        if name != registry.model_name(ticker) or version in versions_of_use(ticker):
            return OF_USE
    for _, version in versions:
        registry.delete(ticker, version)
    runs.delete_files(run)
    return PRUNED


def _close_lost_runs(before: int) -> None:
    """Close RUNNING runs whose process is gone, or if that is not known, that seem lost.

    Those are runs that started `before` (in milliseconds) or whose flow run has ended.
    """
    unfinished.close_lost()
    with get_client(sync_client=True) as prefect:
        for run in list(queries.search(queries.RUNNING, FLOWS)):
            flow_run_id = run.data.tags.get("prefect.flow_run_id")
            seems_lost = run.info.start_time < before or _has_ended(prefect, flow_run_id)
            if seems_lost and not unfinished.is_at_work(run):
                unfinished.close(run, "FAILED", "it was running and nobody works on it any more")


def _has_ended(prefect: SyncPrefectClient, flow_run_id: str | None) -> bool:
    if flow_run_id is None:
        return False
    try:
        state = prefect.read_flow_run(UUID(flow_run_id)).state
    except ObjectNotFound:
        return False  # it may be at work for another server
    return state is not None and state.is_final()


def _ticker(run: TrackedRun) -> str:
    return run.data.tags.get("ticker", "")


def _in_words(counts: dict[str, int]) -> str:
    return "runs: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def main(config: Prune) -> None:
    """Run the flow in this process and print what it deleted and kept."""
    command_line.say(_in_words(prune(**dict(config))))


if __name__ == "__main__":
    command_line.run(Prune, main)

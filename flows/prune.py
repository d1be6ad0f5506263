"""Flow `prune`: delete the files of old runs. Run it with `python -m flows.prune --days 90 --keep 10`."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound

from flows import command_line
from flows.tracking import queries, registry, runs, store
from rnn_core.commands import Prune
from rnn_core.operations.ledger import Ledger

FLOWS = ("retrain", "retrain-universe", "forecast", "score", "study")


@flow(persist_result=False)
def prune(days: int = 90, keep: int = 10, now: datetime | None = None) -> dict[str, int]:
    """Delete files of old runs; parameters, metrics and tags stay, and so does every model that is still of use.

    Runs are closed first that are RUNNING though nobody works on them any more, such as those of a machine that was
    lost. A run is left alone if its model has an alias, is named in the ledger or registered by another name, and while
    it is running. Pruning again goes on where it was interrupted.

    Args:
        days: Keep the files of runs that are younger than this
        keep: Keep those of this many latest runs of each flow and ticker, however old
        now: Time to run as of, such as 2013-02-28T22:00:00Z; empty: the clock

    Returns:
        How many runs were `pruned`, are `of use` although they are old, and were `kept`.
    """
    config = Prune(days=days, keep=keep, now=now or datetime.now(UTC))
    before = int((config.time - timedelta(days=config.days)).timestamp() * 1000)
    seen, counts = defaultdict[tuple[str, str], int](int), {"pruned": 0, "of use": 0, "kept": 0}
    of_use = dict[str, set[int]]()
    with get_client(sync_client=True) as prefect:
        for run in queries.search("attributes.status = 'RUNNING'", FLOWS):
            if run.info.start_time < before or _has_ended(
                prefect, run.data.tags.get("prefect.flow_run_id")
            ):
                store.client().set_terminated(run.info.run_id, "FAILED")
    with Ledger.open() as ledger:
        for run in queries.search("", FLOWS):
            if "pruned" in run.data.tags:
                continue
            ticker = run.data.tags.get("ticker", "")
            kind = run.info.experiment_id, ticker
            seen[kind] += 1
            if (
                seen[kind] <= config.keep
                or run.info.start_time >= before
                or run.info.status == "RUNNING"
            ):
                counts["kept"] += 1
                continue
            own, registered = registry.model_name(ticker), registry.registered(run.info.run_id)
            if ticker not in of_use:
                of_use[ticker] = ledger.versions(ticker) | registry.versions_with_alias(ticker)
            if any(name != own or version in of_use[ticker] for name, version in registered):
                counts["of use"] += 1
                continue
            for _, version in registered:
                registry.delete(ticker, version)
            runs.delete_files(run)
            counts["pruned"] += 1
    get_run_logger().info(
        "runs: %s", ", ".join(f"{count} {what}" for what, count in counts.items())
    )
    return counts


def _has_ended(prefect: SyncPrefectClient, flow_run_id: str | None) -> bool:
    """Whether a flow run has ended; one that this server does not know may be another's, and be at work."""
    if flow_run_id is None:
        return False
    try:
        state = prefect.read_flow_run(UUID(flow_run_id)).state
    except ObjectNotFound:
        return False
    return state is not None and state.is_final()


def main(config: Prune) -> None:
    """Run the flow in this process and say how many runs it pruned."""
    counts = prune(**{name: getattr(config, name) for name in Prune.model_fields})
    command_line.say("runs: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


if __name__ == "__main__":
    command_line.run(Prune, main)

"""End the runs that a power cut has left at Prefect's server, before a worker starts."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from socket import gethostname

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkerStatus, WorkPoolStatus
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from flows.stack.programs import environment_of
from flows.steps.prices import YAHOO, YAHOO_SLOTS
from flows.tracking import unfinished

POOL = "rnn"
QUEUE = "adhoc"  # of the deployments that have no schedule
QUEUE_LIMIT = 4  # runs at once: each may need 700 MB
WORKER = f"stack@{gethostname()}"
BEGUN = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
SILENCE = timedelta(minutes=9)  # three heartbeats of Prefect's flow runs
LOST_RUNS = AutomationCore(
    name="rnnflow-lost",
    description="Marks a run as Crashed once three of its heartbeats (180 s) are missing.",
    trigger=EventTrigger(
        posture=Posture.Proactive,
        after={"prefect.flow-run.heartbeat"},
        expect={
            "prefect.flow-run.heartbeat",
            "prefect.flow-run.Completed",
            "prefect.flow-run.Failed",
            "prefect.flow-run.Crashed",
            "prefect.flow-run.Cancelled",
        },
        for_each={"prefect.resource.id"},
        within=SILENCE,
    ),
    actions=[
        ChangeFlowRunState(state=StateType.CRASHED, message="no heartbeat for nine minutes"),
    ],
)


def set_up(client: SyncPrefectClient) -> None:
    """Limit who asks Yahoo at the same time, and see that lost runs end."""
    try:
        client.read_global_concurrency_limit_by_name(YAHOO)
    except ObjectNotFound:
        client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name=YAHOO, limit=YAHOO_SLOTS)
        )
    earlier = client.read_automations_by_name(LOST_RUNS.name)
    if not any(_is_same(automation, LOST_RUNS) for automation in earlier):
        for automation in earlier:
            client.delete_automation(automation.id)
        client.create_automation(LOST_RUNS)


def limit_queue(client: SyncPrefectClient) -> None:
    """Let runs that users ask for wait in a queue of their own, past which those of a schedule go.

    The pool must exist.
    """
    try:
        queue = client.read_work_queue_by_name(QUEUE, POOL)
    except ObjectNotFound:
        queue = client.create_work_queue(QUEUE, work_pool_name=POOL)
    client.update_work_queue(queue.id, concurrency_limit=QUEUE_LIMIT)


def crash_lost_runs(client: SyncPrefectClient, say: Callable[[str], None]) -> None:
    """Set runs to Crashed that a worker of this machine has begun and that nobody works on.

    Their slots come back with that. If another machine's worker serves the pool too, nobody knows
    whose run is whose, and `LOST_RUNS` ends those without heartbeats.
    """
    if _others_are_at_work(client):
        return
    at_work = set(_flow_runs_at_work())
    crashed: State[None] = Crashed(message="the machine or the worker stopped while it was at work")
    while lost := [run for run in _begun(client) if str(run.id) not in at_work]:
        for run in lost:
            client.set_flow_run_state(run.id, crashed, force=True)
            unfinished.close_runs_of(str(run.id), "FAILED", str(crashed.message))
            say(f"Run {run.name} was lost and is set to Crashed; its slots are free")


def pool_is_ready(client: SyncPrefectClient) -> bool:
    """Return whether a worker serves the pool, which the first worker makes."""
    with suppress(ObjectNotFound):
        return client.read_work_pool(POOL).status == WorkPoolStatus.READY
    return False


def _others_are_at_work(client: SyncPrefectClient) -> bool:
    with suppress(ObjectNotFound):
        client.read_work_pool(POOL)  # the workers of an absent pool are another error
        workers = client.read_workers_for_work_pool(POOL)
        return any(
            worker.status == WorkerStatus.ONLINE and worker.name != WORKER for worker in workers
        )
    return False


def _begun(client: SyncPrefectClient) -> list[FlowRun]:
    """Return runs that were begun and have not ended: a page of them, of 200 by default."""
    begun = FlowRunFilterState(type=FlowRunFilterStateType(any_=BEGUN))
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=begun),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
    )


def _flow_runs_at_work() -> Iterator[str]:
    """Yield the ids of the flow runs that processes of this machine work on."""
    for folder in Path("/proc").glob("[0-9]*"):
        flow_run_id = environment_of(int(folder.name)).get("PREFECT__FLOW_RUN_ID")
        if flow_run_id:
            yield flow_run_id


def _is_same(automation: AutomationCore, wanted: AutomationCore) -> bool:
    fields = set(AutomationCore.model_fields)
    return automation.model_dump(include=fields) == wanted.model_dump()

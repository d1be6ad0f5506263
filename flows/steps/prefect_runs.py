"""What several flows tell Prefect: states, log lines, events, artifacts and progress."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

from httpx import HTTPError
from prefect import get_run_logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.flows import Flow
from prefect.runtime import flow_run as this_run
from prefect.states import Completed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flows.steps.summary import Summary
from flows.tracking import unfinished
from flows.tracking.registry import model_name
from flows.tracking.store import Status
from rnn_core.errors import RnnflowError
from rnn_core.safe_text import safe

logger = logging.getLogger(__name__)

# Options of every task: Prefect would hash and pickle the arrays it takes and returns
IN_MEMORY: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
WITHOUT_SERVER: set[str] = set()  # flow runs that have lost Prefect's server
ARTIFACT_UPDATES = 10  # of a progress bar, at most: each is an HTTP request

T = TypeVar("T")


def run_name() -> str:
    """Return the name of this flow run: the flow's, and its ticker or `all`."""
    return f"{this_run.flow_name}-{this_run.parameters['ticker'] or 'all'}"


def close_tracked_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Close the MLflow run that a cancelled or crashed flow run has left RUNNING.

    If MLflow is lost, the next start of a flow does it.
    """
    stopped_by_user = state.is_cancelled() or state.is_cancelling()
    status: Status = "KILLED" if stopped_by_user else "FAILED"
    try:
        unfinished.close_runs_of(str(flow_run.id), status, f"its flow run is {state.name}")
    except RnnflowError as error:
        logger.warning("the run of flow run %s is not closed: %s", flow_run.name, error)


def nothing_to_do(reason: str) -> State[Any]:
    """Log the reason, and return the state of a flow run that completes without work."""
    message = f"nothing to do: {reason}"
    get_run_logger().info(message)
    return Completed(message=message)


def log_decision(ticker: str, summary: Summary) -> None:
    """Log what was decided about the model of a retrain; a new champion is an event too."""
    judgement = summary.judgement
    if judgement is None:
        return
    article = "the" if judgement.promoted else "no"
    decision = f"version {summary.version} is {article} champion: {judgement.reason}"
    get_run_logger().info("%s %s", model_name(ticker), decision)
    if judgement.promoted:
        announce("promotion", ticker, decision)


def announce(what: str, ticker: str, text: str) -> None:
    """Emit the event `rnnflow.<what>`, which automations can wait for."""
    resource = {"prefect.resource.id": f"rnnflow.ticker.{ticker}", "prefect.resource.name": ticker}
    emit_event(f"rnnflow.{what}", resource, payload={"ticker": ticker, "text": safe(text)})


def publish(markdown: str, key: str) -> None:
    """Show a text on the page of this flow run, as the artifact `key`."""
    _unless_lost(partial(create_markdown_artifact, markdown, key=key))


def _unless_lost(request: Callable[[], T]) -> T | None:
    """Return the answer of Prefect's server to what only shows the work, None if there is none.

    The work goes on without. A flow run that has lost its server is not shown any more: it would
    wait for each request.
    """
    flow_run_id = str(this_run.id)
    if flow_run_id in WITHOUT_SERVER:
        return None
    try:
        return request()
    except HTTPError as error:
        WITHOUT_SERVER.add(flow_run_id)
        get_run_logger().warning("Prefect's server is lost: %s; the work goes on", error)
        return None


def artifact_key(name: str) -> str:
    """Return the name as Prefect accepts it: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int, str], None]]:
    """Show progress as a bar in a terminal and as an artifact in the UI.

    Yields a callback that takes how many of `total` are done, and a note.
    """
    artifact = _unless_lost(partial(create_progress_artifact, 0.0, description=what))
    console = Console(stderr=True)
    bar = Progress(
        TextColumn(what),
        MofNCompleteColumn(),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    shown = bar.add_task("", total=total, note="")
    between_updates = max(total // ARTIFACT_UPDATES, 1)

    def update(per_cent: float) -> None:
        if artifact is not None:
            _unless_lost(partial(update_progress_artifact, cast(UUID, artifact), per_cent))

    def advance(done: int, note: str) -> None:
        bar.update(shown, completed=done, note=note)
        if done % between_updates == 0:
            update(100.0 * done / total)

    with bar:
        yield advance
    update(100.0)

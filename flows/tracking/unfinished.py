"""Runs that end before their work does: closed, and what they left half done deleted."""

import logging
from collections.abc import Iterable

from mlflow.entities import LoggedModel, LoggedModelStatus, Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from flows.tracking import registry
from flows.tracking.queries import PARENT, RUNNING, logged_models, search
from flows.tracking.store import Status, asking, client, get_run, one_line
from rnn_core import owners
from rnn_core.errors import RnnflowError
from rnn_core.operations.ledger import Ledger
from rnn_core.owners import Owner

OWNER = "process"  # tag of a run: the process that works on it
JUDGED = "promotion"  # tag of a run whose version was judged: no part of it is missing
ABANDONED: set[str] = set()  # runs that this process could not close, because MLflow was lost

logger = logging.getLogger(__name__)


def close_failed(run_id: str, error: BaseException) -> None:
    """Close a run of this process that an error has ended.

    If MLflow or the ledger cannot be used, the next start of a flow closes it.
    """
    status: Status = "FAILED" if isinstance(error, Exception | SystemExit) else "KILLED"
    reason = str(error) if isinstance(error, RnnflowError) else repr(error)
    try:
        close(get_run(run_id), status, reason)
    except RnnflowError:  # the error that has ended the run is the one to show
        ABANDONED.add(run_id)


def close_lost() -> None:
    """Close the runs of this host whose process is gone, and delete what they left half done."""
    owners.delete_folders_of_gone()
    of_this_host = f"tags.`{OWNER}` LIKE '{owners.host()}{owners.SEPARATOR}%'"
    try:
        for run in list(search(f"{of_this_host} and {RUNNING}")):
            if is_lost(run):
                close(run, "FAILED", f"its process is gone ({run.data.tags[OWNER]})")
    except RnnflowError as error:  # nobody is kept from work by what others have left
        logger.warning("runs whose process is gone are not closed: %s", error)


def close_runs_of(flow_run_id: str, status: Status, reason: str) -> None:
    """Close the runs that a flow run which was killed has left RUNNING."""
    _close_all(
        search(f"tags.`prefect.flow_run_id` = '{flow_run_id}' and {RUNNING}"), status, reason
    )


def close_children(run_id: str, status: Status, reason: str) -> None:
    """Close the children of a run that are RUNNING."""
    _close_all(_running_children(run_id), status, reason)


def close(run: Run, status: Status, reason: str) -> None:
    """Close a run and its lost children, after deleting what they left half done.

    That is a version that was registered and not judged, and a model that was not logged to its
    end. A run whose version was judged has done its work, whatever ended it then: it is FINISHED,
    so that nobody does the work again. A version with an alias of a user stays.
    """
    children = _running_children(run.info.run_id)
    lost_children = [child for child in children if OWNER not in child.data.tags or is_lost(child)]
    _close_all(lost_children, status, reason)
    if JUDGED in run.data.tags or _keep_what_was_promoted(run):
        status = "FINISHED"
    for model in logged_models(run):
        if model.status == LoggedModelStatus.PENDING:
            delete_model(model)
    client().set_tag(run.info.run_id, "error", one_line(reason))
    client().set_terminated(run.info.run_id, status)
    ABANDONED.discard(run.info.run_id)


def is_lost(run: Run) -> bool:
    """Return True if the process that worked on the run is gone."""
    owner = Owner.parse(run.data.tags.get(OWNER, ""))
    return run.info.run_id in ABANDONED or (owner is not None and owner.is_gone)


def is_at_work(run: Run) -> bool:
    """Return True if a process of this host works on the run."""
    owner = Owner.parse(run.data.tags.get(OWNER, ""))
    return owner is not None and owner.is_alive and not is_lost(run)


def delete_model(model: LoggedModel) -> None:
    """Delete a logged model and its files."""
    with asking():
        get_artifact_repository(model.artifact_location).delete_artifacts()
    client().delete_logged_model(model.model_id)


def _running_children(run_id: str) -> Iterable[Run]:
    return search(f"tags.`{PARENT}` = '{run_id}' and {RUNNING}")


def _close_all(runs: Iterable[Run], status: Status, reason: str) -> None:
    for run in list(runs):  # before any is closed: a page of runs begins after those before it
        close(run, status, reason)


def _keep_what_was_promoted(run: Run) -> bool:
    """Delete the run's versions that are not in use; return True if the run has promoted one.

    The ledger knows that before the run is tagged.
    """
    ticker = run.data.tags.get("ticker", "")
    versions = {
        version
        for name, version in registry.registered(run.info.run_id)
        if name == registry.model_name(ticker)
    }
    if not versions:
        return False
    with Ledger.open() as ledger:
        has_promoted = ledger.has_promoted(ticker, run.info.run_id)
        in_use = ledger.versions(ticker)
    if has_promoted:
        client().set_tag(run.info.run_id, JUDGED, "promoted")
    in_use |= registry.versions_with_alias(ticker, apart_from=registry.CHALLENGER)
    for version in versions - in_use:
        registry.delete(ticker, version)
    return has_promoted

"""Runs that end before their work does: closed, and what they left half done deleted."""

import logging
from collections.abc import Iterable

from mlflow.entities import LoggedModel, LoggedModelStatus, Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from flows.tracking import registry
from flows.tracking.queries import INTERRUPTED, PARENT, RUNNING, logged_models, search
from flows.tracking.store import Status, asking, client, get_run, one_line
from rnn_core import owners
from rnn_core.errors import RnnflowError
from rnn_core.operations.ledger import Ledger
from rnn_core.owners import Owner

OWNER = "process"  # tag of a run: the process that works on it
JUDGED = "promotion"  # tag of a run whose version was judged, written last of all
RECORDED = "verdict"  # tag of a run whose training was recorded
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


def close_lost(ticker: str = "") -> set[str]:
    """Close the runs of this host whose process is gone, and delete what they left half done.

    Returns:
        The tickers of those that had done their work.

    Raises:
        TrackingError: a lost run of `ticker` cannot be closed, or the store cannot be searched for
            one. Those of others keep nobody from work.
    """
    owners.delete_folders_of_gone()
    of_this_host = f"tags.`{OWNER}` LIKE '{owners.host()}{owners.SEPARATOR}%'"
    done = set()
    try:
        lost = [run for run in search(f"{of_this_host} and {RUNNING}") if is_lost(run)]
    except RnnflowError as error:
        if ticker:
            raise
        logger.warning("runs whose process is gone are not closed: %s", error)
        return set()
    for run in lost:
        its_ticker = run.data.tags.get("ticker", "")
        try:
            if close(run, "FAILED", f"its process is gone ({run.data.tags[OWNER]})") == "FINISHED":
                done.add(its_ticker)
        except RnnflowError as error:
            if its_ticker == ticker:
                raise
            logger.warning(
                "run %s, whose process is gone, is not closed: %s", run.info.run_id, error
            )
    return done


def take(run_id: str) -> None:
    """Note that somebody has asked for the work of a run that was interrupted after it."""
    if INTERRUPTED in get_run(run_id).data.tags:
        client().delete_tag(run_id, INTERRUPTED)


def close_runs_of(flow_run_id: str, status: Status, reason: str) -> None:
    """Close the runs that a flow run which was killed has left RUNNING."""
    _close_all(
        search(f"tags.`prefect.flow_run_id` = '{flow_run_id}' and {RUNNING}"), status, reason
    )


def close_children(run_id: str, status: Status, reason: str) -> None:
    """Close the children of a run that are RUNNING."""
    _close_all(_running_children(run_id), status, reason)


def close(run: Run, status: Status, reason: str) -> Status:
    """Close a run and its lost children, after deleting what they left half done.

    That is a version that was registered and not judged, and a model that was not logged to its
    end. A run whose version was judged has done its work, whatever ended it then: it is FINISHED,
    with the reason in its tag `error`, and whoever starts it again has nothing to do (`take`). A
    version with an alias of a user stays, and so does one whose number the ledger knows.

    Returns:
        The status of the run.
    """
    children = _running_children(run.info.run_id)
    lost_children = [child for child in children if OWNER not in child.data.tags or is_lost(child)]
    _close_all(lost_children, status, reason)
    if JUDGED in run.data.tags or _was_promoted(run):
        status = "FINISHED"
        client().set_tag(run.info.run_id, INTERRUPTED, "after its work")
    else:
        _delete_versions(run)
    for model in logged_models(run):
        if model.status == LoggedModelStatus.PENDING:
            delete_model(model)
    client().set_tag(run.info.run_id, "error", one_line(reason))
    client().set_terminated(run.info.run_id, status)
    ABANDONED.discard(run.info.run_id)
    return status


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


def _was_promoted(run: Run) -> bool:
    """Return True if the run has promoted its version, which the ledger knows first; then tell it.

    A version can be promoted by a user too, but not before its training was recorded.
    """
    ticker = run.data.tags.get("ticker", "")
    with Ledger.open() as ledger:
        promotion = ledger.promotion_by(ticker, run.info.run_id)
    if promotion is None or RECORDED not in run.data.tags:
        return False
    registry.tell_promotion(ticker, promotion.model_version, promotion.reason)
    client().set_tag(run.info.run_id, f"{JUDGED}.reason", promotion.reason)
    client().set_tag(run.info.run_id, JUDGED, "promoted")
    return True


def _delete_versions(run: Run) -> None:
    """Delete the versions of a run's model, unless they are in use."""
    ticker = run.data.tags.get("ticker", "")
    versions = {
        version
        for name, version in registry.registered(run.info.run_id)
        if name == registry.model_name(ticker)
    }
    if not versions:
        return
    with Ledger.open() as ledger:
        in_use = ledger.versions(ticker)
    in_use |= registry.versions_with_alias(ticker, apart_from=registry.CHALLENGER)
    for version in versions - in_use:
        registry.delete(ticker, version)

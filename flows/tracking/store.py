"""Where MLflow keeps runs: the store, its experiments, and how an error of it is said."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow.entities import Run, RunInfo
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from rnn_core.errors import TrackingError

SQLITE = "sqlite:///"
DEFAULT_URI = f"{SQLITE}mlflow.db"
KIND = {
    "mlflow.experimentKind": "custom_model_development"
}  # opens on runs, not on traces of a language model
RUNS: dict[
    str, RunInfo
] = {}  # that this process has met, by id, as they were: to ask for a run takes MLflow long

os.environ.setdefault(
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"
)  # the default retries an absent server for two minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "8")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
for chatty, level in (
    ("mlflow", "WARNING"),
    ("alembic", "WARNING"),
    ("urllib3.connectionpool", "ERROR"),
):
    logging.getLogger(chatty).setLevel(level)


def uri() -> str:
    """Where runs are recorded: MLFLOW_TRACKING_URI, else a SQLite file in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def client() -> mlflow.MlflowClient:
    """The client of the store at `uri()`."""
    mlflow.set_tracking_uri(uri())  # loading a model knows no other way
    return _client(uri())


@cache
def _client(tracking_uri: str) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri)


def experiment_id(name: str) -> str:
    """The id of the experiment `name`, made if there is none.

    Raises:
        TrackingError: the store cannot be reached or used.
    """
    try:
        with _alone():
            found = client().get_experiment_by_name(name)
            return (
                found.experiment_id
                if found
                else client().create_experiment(name, _artifacts(name), KIND)
            )
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise unusable(error) from error


def experiment_of(run_id: str) -> str:
    """Id of the experiment that a run belongs to."""
    return run_info(run_id).experiment_id


def get_run(run_id: str) -> Run:
    """The run as it is now."""
    found = client().get_run(run_id)
    RUNS[run_id] = found.info
    return found


def unusable(error: Exception) -> TrackingError:
    """What is raised where the store cannot be reached or used, with the reason in one line."""
    reason = one_line(_reason(error))
    return TrackingError(f"MLflow at {uri()} cannot be used ({reason}); check MLFLOW_TRACKING_URI")


def run_info(run_id: str) -> RunInfo:
    """What never changes of a run: its experiment, and where its files are."""
    return RUNS.get(run_id) or get_run(run_id).info


def _artifacts(experiment: str) -> str | None:
    """Where the files of runs are kept: beside a SQLite file, wherever a process stands, else where the server says."""
    if not uri().startswith(SQLITE):
        return None
    return str(Path(uri().removeprefix(SQLITE)).resolve().parent / "mlruns" / experiment)


@contextmanager
def _alone() -> Iterator[None]:
    """Hold a lock while MLflow first opens a SQLite file: two processes that both create its tables fail."""
    if not uri().startswith(SQLITE):
        yield
        return
    with FileLock(uri().removeprefix(SQLITE) + ".lock"):
        yield


def _reason(error: BaseException) -> BaseException:
    """The operating system's word on it if there is one, such as a refused connection, else the error itself."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.errno):
        cause = cause.__cause__ or cause.__context__
    return cause or error


def one_line(error: BaseException) -> str:
    """Return the text of an error without its line breaks, cut at 500 characters."""
    return " ".join(str(error).split())[:500]

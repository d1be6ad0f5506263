"""Where MLflow keeps runs: the store and its experiments; errors of it become one line."""

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import mlflow
from filelock import FileLock
from mlflow.entities import Experiment, LifecycleStage, Run, RunInfo
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from flows.tracking import copies
from flows.tracking.moved_store import FOLDER, follow_files
from rnn_core.errors import NotFound, TrackingError
from rnn_core.safe_text import safe

logger = logging.getLogger(__name__)

SQLITE = "sqlite:///"
DEFAULT_URI = f"{SQLITE}mlflow.db"
# The page of an experiment opens on its runs, not on traces of a language model
KIND = {"mlflow.experimentKind": "custom_model_development"}
# Runs this process has met, by id, as they were then: MLflow takes long to return one
INFOS: dict[str, RunInfo] = {}
# MLflow's codes for a run or model that does not exist, and for a name or alias that cannot
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
# How an answer fails that is no answer of MLflow's, such as the page of a proxy
NO_ANSWER = (SQLAlchemyError, sqlite3.Error, OSError, JSONDecodeError)
LONGEST_ERROR = 500  # characters
Status: TypeAlias = Literal["FINISHED", "FAILED", "KILLED"]

# By default a server that is absent is asked again for two minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "8")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
# It would print the server's address, with the password that may be in it
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
logging.getLogger("mlflow").setLevel("WARNING")
logging.getLogger("mlflow.store.db.utils").setLevel("CRITICAL")  # tracebacks of what we raise
logging.getLogger("alembic").setLevel("WARNING")
logging.getLogger("urllib3.connectionpool").setLevel("ERROR")


def uri() -> str:
    """Return where runs are: MLFLOW_TRACKING_URI, else a SQLite file in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def is_server() -> bool:
    """Return whether runs are recorded at a tracking server."""
    return uri().startswith("http")


def client() -> mlflow.MlflowClient:
    """Return the client of the store at `uri()`.

    Each of its methods raises NotFound or another TrackingError, as `asking` does.
    """
    mlflow.set_tracking_uri(uri())  # mlflow.pyfunc.load_model reads it
    return _client(uri())


@contextmanager
def asking() -> Iterator[None]:
    """Raise errors of MLflow, of its database, files and network as one of this project.

    Raises:
        NotFound: MLflow does not know what it is asked for.
        TrackingError: the store cannot be reached or used.
    """
    try:
        yield
    except MlflowException as error:
        if error.error_code in ABSENT:
            raise NotFound(f"MLflow at {uri()} cannot find it ({one_line(error)})") from error
        raise unusable(error) from error
    except NO_ANSWER as error:
        raise unusable(error) from error


def experiment_id(name: str) -> str:
    """Return the id of the experiment `name`, and create it if there is none.

    Raises:
        TrackingError: the store cannot be reached or used.
    """
    store = client()
    with asking(), _lock_of_the_file():
        experiment = store.get_experiment_by_name(name)
        if experiment is not None:
            _restore_if_deleted(experiment)
            return experiment.experiment_id
        return store.create_experiment(name, _artifact_location(name), KIND)


def _restore_if_deleted(experiment: Experiment) -> None:
    """Restore an experiment, whose name MLflow gives to no other; its runs come back with it."""
    if experiment.lifecycle_stage == LifecycleStage.DELETED:
        client().restore_experiment(experiment.experiment_id)
        logger.warning("experiment %s was deleted in MLflow; it is restored", experiment.name)


def experiment_of(run_id: str) -> str:
    """Return the id of the experiment that a run belongs to."""
    return run_info(run_id).experiment_id


def get_run(run_id: str) -> Run:
    """Return the run as it is now."""
    run = client().get_run(run_id)
    INFOS[run_id] = run.info
    return run


def run_info(run_id: str) -> RunInfo:
    """Return what never changes about a run: its experiment, and where its files are."""
    return INFOS.get(run_id) or get_run(run_id).info


def unusable(error: Exception) -> TrackingError:
    """Return the error to raise if the store cannot be reached or used; its reason is one line."""
    reason = one_line(_first_cause(error))
    return TrackingError(f"MLflow at {uri()} cannot be used ({reason}); check MLFLOW_TRACKING_URI")


def one_line(error: BaseException | str) -> str:
    """Return the text of an error without its line breaks, cut at `LONGEST_ERROR`."""
    return " ".join(safe(str(error)).split())[:LONGEST_ERROR]


@cache
def _client(tracking_uri: str) -> mlflow.MlflowClient:
    return cast(mlflow.MlflowClient, _Client(tracking_uri))


class _Client:
    """MLflow's client, with every method under `asking`."""

    def __init__(self, tracking_uri: str) -> None:
        database = tracking_uri.removeprefix(SQLITE)
        is_file = database != tracking_uri
        try:
            if is_file:
                _migrate(Path(database))
            with _lock_of_the_file():
                self._client = mlflow.MlflowClient(tracking_uri)
                if is_file:
                    self._client.search_experiments(max_results=1)  # makes the tables
            if is_file:
                follow_files(Path(database))
        except (MlflowException, *NO_ANSWER) as error:
            raise unusable(error) from error

    def __getattr__(self, name: str) -> Any:
        return asking()(getattr(self._client, name))


def _migrate(database: Path) -> None:
    """Bring the tables of an older release up to date, after a copy of them is made.

    MLflow does it by itself only where a table is new, and keeps no copy.

    Raises:
        TrackingError: a newer release has changed them, or the migration fails.
    """
    if not copies.is_older(database, "mlflow"):
        return
    with _lock_of_the_file():
        if not copies.is_older(database, "mlflow"):  # another process was quicker
            return
        copy = copies.keep_copy(database, "mlflow")
        logger.warning("%s is of an older MLflow and is migrated; its copy is %s", database, copy)
        command = [sys.executable, "-m", "mlflow", "db", "upgrade", f"{SQLITE}{database}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = one_line(done.stderr[-LONGEST_ERROR:])
        raise TrackingError(f"{database} cannot be migrated ({reason}); its copy is {copy}")


def _artifact_location(experiment: str) -> str | None:
    """Return the folder of an experiment's files, next to the SQLite file; a server has its own."""
    if not uri().startswith(SQLITE):
        return None
    folder = Path(uri().removeprefix(SQLITE)).resolve().parent
    return str(folder / FOLDER / experiment)


@contextmanager
def _lock_of_the_file() -> Iterator[None]:
    """Hold a lock on a SQLite file: two processes fail if both create its tables."""
    if not uri().startswith(SQLITE):
        yield
        return
    with _lock(uri().removeprefix(SQLITE) + ".lock"):
        yield


@cache
def _lock(file: str) -> FileLock:
    return FileLock(file)  # a thread that holds it may take it again


def _first_cause(error: BaseException) -> BaseException:
    """Return the error of the database or the operating system behind an error, if there is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DBAPIError) and cause.orig is not None:
            return cause.orig
        if isinstance(cause, OSError) and cause.errno:
            return cause
        cause = cause.__cause__ or cause.__context__
    return error

"""The life of a run: started, written to, closed, opened in a browser, deleted.

Every call names its run, because MLflow's active run belongs to one thread.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from mlflow.entities import LoggedModel, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from pydantic import BaseModel

from flows.tracking.integrity import sha256_of
from flows.tracking.queries import search
from flows.tracking.store import (
    ABSENT,
    INFOS,
    client,
    experiment_id,
    experiment_of,
    is_server,
    one_line,
    run_info,
    unusable,
    uri,
)
from rnn_core.errors import FileDamaged
from rnn_core.identity import flatten
from rnn_core.nn.arrays import Array

UI_PORT = 5000  # of MLflow's UI, by default
BATCH = 1000  # metrics that MLflow takes in one request
LONGEST_TAG = 8000  # characters
CONFIG = "config.json"
CALLS = "calls.csv"
VERSIONS = "versions.json"
HASH = "sha256."  # what the name of a tag with the hash of a file starts with
READ_AGAIN = (CONFIG, CALLS, VERSIONS)  # files of a run whose hashes are in its tags
Status = Literal["FINISHED", "FAILED", "KILLED"]
TrackedRun: TypeAlias = Run


@contextmanager
def start(
    experiment: str, subject: str, config: BaseModel, tags: dict[str, str], flow_run_id: str
) -> Iterator[str]:
    """Record a run of `config` about `subject`.

    Yields its id, and closes it as FINISHED, FAILED or, if it is interrupted, KILLED.

    Raises:
        TrackingError: the store cannot be reached or used.
    """
    experiment_number = experiment_id(experiment)
    store = client()
    tags = tags | {
        "prefect.flow_run_id": flow_run_id,
        "version": version("rnnflow"),
        "mlflow.source.name": f"flows.{experiment}",
        "mlflow.source.type": "PROJECT",
        "mlflow.source.git.commit": git_commit(),
    }
    configuration = {CONFIG: config.model_dump_json(indent=2)}
    tags |= _hashes(configuration)
    run = store.create_run(experiment_number, run_name=f"{experiment}-{subject}", tags=tags)
    run_id: str = run.info.run_id
    INFOS[run_id] = run.info
    status: Status = "KILLED"
    try:
        params = [Param(name, as_text(value)) for name, value in flatten(config).items()]
        store.log_batch(run_id, params=params)
        _log_files(run_id, configuration)
        yield run_id
        status = "FINISHED"
    except Exception as error:
        status = "FAILED"
        with suppress(MlflowException):
            store.set_tag(run_id, "error", one_line(error))
        if isinstance(error, MlflowException):
            raise unusable(error) from error
        raise
    finally:
        store.set_terminated(run_id, status)


def close(run_id: str, status: Status) -> None:
    """Close a run."""
    client().set_terminated(run_id, status)


def close_all(condition: str, status: Status) -> None:
    """Close the RUNNING runs that fit a filter of MLflow."""
    for run in search(f"{condition} and attributes.status = 'RUNNING'"):
        close(run.info.run_id, status)


def close_runs_of(flow_run_id: str, status: Status) -> None:
    """Close the runs that a flow run which was killed has left RUNNING."""
    close_all(f"tags.`prefect.flow_run_id` = '{flow_run_id}'", status)


def close_children(run_id: str, status: Status) -> None:
    """Close the children of a run that are RUNNING."""
    close_all(f"tags.`mlflow.parentRunId` = '{run_id}'", status)


def log(
    run_id: str,
    *,
    metrics: Mapping[str, float] = MappingProxyType({}),
    curves: Mapping[str, Array] = MappingProxyType({}),
    tags: Mapping[str, str] = MappingProxyType({}),
    files: Mapping[str, bytes | str] = MappingProxyType({}),
) -> None:
    """Record results in a run, in as few requests as possible.

    Args:
        run_id: The run.
        metrics: Single numbers.
        curves: Numbers by epoch, (E,).
        tags: Texts, cut at `LONGEST_TAG`.
        files: Contents by path in the run.
    """
    numbers = _as_metrics(metrics, curves)
    texts = {**tags, **_hashes(files)}
    labels = [RunTag(name, value[:LONGEST_TAG]) for name, value in texts.items()]
    if numbers or labels:
        client().log_batch(run_id, numbers[:BATCH], tags=labels)
    for start in range(BATCH, len(numbers), BATCH):
        client().log_batch(run_id, numbers[start : start + BATCH])
    if files:
        _log_files(run_id, files)


def text(run: TrackedRun, name: str) -> str:
    """Return a text file of a run.

    Raises:
        FileDamaged: it is missing, or has changed since it was written.
        TrackingError: the store cannot be reached or used.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = client().download_artifacts(run.info.run_id, name, folder)
            content = Path(file).read_bytes()
        _refuse_changed(content, run.data.tags.get(f"{HASH}{name}"))
        return content.decode()
    except (MlflowException, OSError, ValueError) as error:
        if isinstance(error, MlflowException) and error.error_code not in ABSENT:
            raise unusable(error) from error
        raise FileDamaged(
            f"{name} of run {run.info.run_id} cannot be read ({one_line(error)})"
        ) from error


def calls(run: TrackedRun) -> pd.DataFrame:
    """Return the table of calls that a training run has logged, by date.

    Raises:
        FileDamaged: its file is missing or damaged.
        TrackingError: the store cannot be reached or used.
    """
    content = StringIO(text(run, CALLS))
    try:
        table = pd.read_csv(content, index_col="date", parse_dates=True, date_format="ISO8601")
        _refuse_damaged(table)
    except (LookupError, ValueError) as error:
        raise FileDamaged(
            f"{CALLS} of run {run.info.run_id} cannot be read ({one_line(error)})"
        ) from error
    return table


def _refuse_changed(content: bytes, expected: str | None) -> None:
    """Raise ValueError if the SHA-256 of the content is another; older runs expect none."""
    if expected not in (None, sha256_of(content)):
        raise ValueError("it has changed since it was written")


def _refuse_damaged(calls: pd.DataFrame) -> None:
    """Raise ValueError, or KeyError, if a day, a date or a number of the calls is missing."""
    dates = pd.to_datetime(calls.index, format="ISO8601")  # raises ValueError for text
    numbers = calls.astype(float)[["probability", "up", "next_return"]]
    if calls.empty:
        raise ValueError("it has no rows")
    if dates.hasnans or not np.isfinite(numbers.to_numpy()).all():
        raise ValueError("a date or a number is missing")
    if not dates.is_unique or not numbers["probability"].between(0, 1).all():
        raise ValueError("a date is there twice, or a probability is outside 0 to 1")


def address(run_id: str, file: str) -> str:
    """Return where a file of a run can be opened: its path on this machine, else its URL."""
    folder = Path(run_info(run_id).artifact_uri)
    return str(folder / file) if folder.is_absolute() else f"{url(run_id)}/artifacts/{file}"


def delete_files(run: TrackedRun) -> None:
    """Delete the files of a run and of the models that it logged, and tag it `pruned`."""
    for model in logged_models(run):
        get_artifact_repository(model.artifact_location).delete_artifacts()
        client().delete_logged_model(model.model_id)
    get_artifact_repository(run.info.artifact_uri).delete_artifacts()
    log(run.info.run_id, tags={"pruned": "yes"})


def logged_models(run: TrackedRun) -> list[LoggedModel]:
    """Return the models that a run has logged."""
    condition = f"source_run_id = '{run.info.run_id}'"
    models = client().search_logged_models([run.info.experiment_id], filter_string=condition)
    return list(models)


def url(run_id: str) -> str:
    """Return the page of a run, on the tracking server or on the UI that `make up` starts."""
    server = uri() if is_server() else f"http://127.0.0.1:{_ui_port()}"
    return f"{server.rstrip('/')}/#/experiments/{experiment_of(run_id)}/runs/{run_id}"


def how_to_open(run_id: str) -> str:
    """Return the URL of a run; without a tracking server, after the command that starts the UI."""
    if is_server():
        return url(run_id)
    python = sys.executable
    if Path(python).is_relative_to(Path.cwd()):
        python = os.path.relpath(python)
    command = f"{python} -m mlflow ui --port {_ui_port()} --backend-store-uri {uri()}"
    return f"{command}   # {url(run_id)}"


@cache
def git_commit() -> str:
    """Return the commit of the checkout that is running, `unknown` outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def as_text(value: Any) -> str:
    """Return a value as MLflow shows it: nothing for None, elements of a list with commas."""
    if value is None:
        return ""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _ui_port() -> str:
    return os.environ.get("MLFLOW_PORT", str(UI_PORT))


def _as_metrics(metrics: Mapping[str, float], curves: Mapping[str, Array]) -> list[Metric]:
    now = int(time.time() * 1000)
    single = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
    by_epoch = [
        Metric(name, float(value), now, epoch)
        for name, curve in curves.items()
        for epoch, value in enumerate(curve, start=1)
    ]
    return single + by_epoch


def _hashes(files: Mapping[str, bytes | str]) -> dict[str, str]:
    """Return the tags with the hashes of those files that are read again later."""
    return {
        f"{HASH}{name}": sha256_of(_encoded(files[name])) for name in READ_AGAIN if name in files
    }


def _encoded(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _log_files(run_id: str, files: Mapping[str, bytes | str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_encoded(content))
        get_artifact_repository(run_info(run_id).artifact_uri, uri()).log_artifacts(folder)

"""The life of a run: started, written to, closed, opened in a browser, deleted.

Every call names its run, because MLflow's active run belongs to one thread.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from pydantic import BaseModel

from flows.tracking import unfinished
from flows.tracking.files import CONFIG, content_of, hashes
from flows.tracking.queries import PARENT, logged_models
from flows.tracking.store import (
    INFOS,
    asking,
    client,
    experiment_id,
    experiment_of,
    is_server,
    run_info,
    uri,
)
from rnn_core import owners
from rnn_core.errors import TrackingError
from rnn_core.identity import flatten
from rnn_core.nn.arrays import Array
from rnn_core.owners import temporary_folder
from rnn_core.safe_text import safe, without_login

UI_PORT = 5000  # of MLflow's UI, by default
BATCH = 1000  # metrics that MLflow takes in one request
LONGEST_TAG = 8000  # characters
TrackedRun: TypeAlias = Run


@contextmanager
def start(
    experiment: str, subject: str, config: BaseModel, tags: dict[str, str], flow_run_id: str
) -> Iterator[str]:
    """Record a run of `config` about `subject`.

    Yields its id, and closes it as FINISHED, FAILED or, if it is interrupted, KILLED; as FINISHED
    also if its version was judged before that. The runs that processes of this machine have left
    RUNNING are closed first.

    Raises:
        TrackingError: the store cannot be reached or used, or somebody else has closed the run.
    """
    experiment_number = experiment_id(experiment)
    store = client()
    tags = tags | {
        "prefect.flow_run_id": flow_run_id,
        unfinished.OWNER: str(owners.this_process()),
        "version": version("rnnflow"),
        "mlflow.source.name": f"flows.{experiment}",
        "mlflow.source.type": "PROJECT",
        "mlflow.source.git.commit": git_commit(),
    }
    if PARENT not in tags:
        unfinished.close_lost()
    configuration = {CONFIG: config.model_dump_json(indent=2)}
    tags |= hashes(configuration)
    run = store.create_run(experiment_number, run_name=f"{experiment}-{subject}", tags=tags)
    run_id: str = run.info.run_id
    INFOS[run_id] = run.info
    try:
        params = [Param(name, safe(as_text(value))) for name, value in flatten(config).items()]
        store.log_batch(run_id, params=params)
        _log_files(run_id, configuration)
        yield run_id
        _finish(run_id)
    except BaseException as error:
        unfinished.close_failed(run_id, error)
        raise


def _finish(run_id: str) -> None:
    """Close a run as FINISHED, unless somebody has closed it who took it for lost."""
    run = client().get_run(run_id)
    if run.info.status not in ("RUNNING", "FINISHED"):
        why = run.data.tags.get("error", "no reason is given")
        raise TrackingError(f"run {run_id} was closed before its end: {why}")
    client().set_terminated(run_id, "FINISHED")


def log(
    run_id: str,
    *,
    metrics: Mapping[str, float] = MappingProxyType({}),
    curves: Mapping[str, Array] = MappingProxyType({}),
    tags: Mapping[str, str] = MappingProxyType({}),
    files: Mapping[str, bytes | str] = MappingProxyType({}),
) -> None:
    """Record results in a run, in as few requests as possible: the files first, the tags last.

    Args:
        run_id: The run.
        metrics: Single numbers.
        curves: Numbers by epoch, (E,).
        tags: Texts, cut at `LONGEST_TAG`.
        files: Contents by path in the run.
    """
    numbers = _as_metrics(metrics, curves)
    texts = {**tags, **hashes(files)}
    labels = [RunTag(name, safe(value)[:LONGEST_TAG]) for name, value in texts.items()]
    if files:
        _log_files(run_id, files)
    for start in range(BATCH, len(numbers), BATCH):
        client().log_batch(run_id, numbers[start : start + BATCH])
    if numbers or labels:
        client().log_batch(run_id, numbers[:BATCH], tags=labels)


def address(run_id: str, file: str) -> str:
    """Return where a file of a run can be opened: its path on this machine, else its URL."""
    folder = Path(run_info(run_id).artifact_uri)
    return str(folder / file) if folder.is_absolute() else f"{url(run_id)}/artifacts/{file}"


def delete_files(run: TrackedRun) -> None:
    """Delete the files of a run and of the models that it logged, and tag it `pruned`."""
    for model in logged_models(run):
        unfinished.delete_model(model)
    with asking():
        get_artifact_repository(run.info.artifact_uri).delete_artifacts()
    log(run.info.run_id, tags={"pruned": "yes"})


def url(run_id: str) -> str:
    """Return the page of a run, on the tracking server or on the UI that `make up` starts."""
    server = without_login(uri()) if is_server() else f"http://127.0.0.1:{_ui_port()}"
    return f"{server.rstrip('/')}/#/experiments/{experiment_of(run_id)}/runs/{run_id}"


def how_to_open(run_id: str) -> str:
    """Return the URL of a run; without a tracking server, after the command that starts the UI."""
    if is_server():
        return url(run_id)
    python = sys.executable
    if Path(python).is_relative_to(Path.cwd()):
        python = os.path.relpath(python)
    holds_secret = safe(uri()) != uri()
    store = '"$MLFLOW_TRACKING_URI"' if holds_secret else uri()
    command = f"{python} -m mlflow ui --port {_ui_port()} --backend-store-uri {store}"
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


def _log_files(run_id: str, files: Mapping[str, bytes | str]) -> None:
    with asking(), temporary_folder() as folder:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content_of(content))
        get_artifact_repository(run_info(run_id).artifact_uri, uri()).log_artifacts(str(folder))

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
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from pydantic import BaseModel

from flows.tracking.queries import search
from flows.tracking.store import (
    RUNS,
    client,
    experiment_id,
    experiment_of,
    one_line,
    run_info,
    unusable,
    uri,
)
from rnn_core.commands import flatten
from rnn_core.nn.arrays import Array

DEFAULT_PORT = 5000  # of MLflow's UI
BATCH = 1000  # metrics that MLflow takes in one request
LONGEST = 8000  # characters of a tag
Status = Literal["FINISHED", "FAILED", "KILLED"]


@contextmanager
def run(
    experiment: str, subject: str, config: BaseModel, tags: dict[str, str], flow_run_id: str
) -> Iterator[str]:
    """Record one run of `config`: yields its id and closes it as FINISHED, FAILED or (interrupted) KILLED.

    `subject` and `tags` say what it is about.
    """
    number = experiment_id(experiment)
    store = client()
    tags = tags | {
        "prefect.flow_run_id": flow_run_id,
        "version": version("rnnflow"),
        "mlflow.source.name": f"flows.{experiment}",
        "mlflow.source.type": "PROJECT",
        "mlflow.source.git.commit": git_commit(),
    }
    started = store.create_run(number, run_name=f"{experiment}-{subject}", tags=tags)
    run_id: str = started.info.run_id
    RUNS[run_id] = started.info
    status: Status = "KILLED"
    try:
        params = [Param(name, as_text(value)) for name, value in flatten(config).items()]
        store.log_batch(run_id, params=params)
        log(run_id, files={"config.json": config.model_dump_json(indent=2)})
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


def close_runs_of(flow_run_id: str, status: Status) -> None:
    """Close what a flow run that was killed left RUNNING."""
    close_runs(f"tags.`prefect.flow_run_id` = '{flow_run_id}'", status)


def close_runs(which: str, status: Status) -> None:
    """Close the RUNNING runs that fit a filter of MLflow's."""
    for left in search(f"{which} and attributes.status = 'RUNNING'"):
        client().set_terminated(left.info.run_id, status)


def log(
    run_id: str,
    *,
    metrics: Mapping[str, float] = MappingProxyType({}),
    curves: Mapping[str, Array] = MappingProxyType({}),
    tags: Mapping[str, str] = MappingProxyType({}),
    files: Mapping[str, bytes | str] = MappingProxyType({}),
) -> None:
    """Record what a run has found, in as few requests as it takes.

    `metrics` are single numbers, `curves` (E,) numbers by epoch; `files` are contents by path in the run. Texts are
    cut at what MLflow takes.
    """
    now = int(time.time() * 1000)
    entries = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
    for name, curve in curves.items():
        entries += [
            Metric(name, float(value), now, epoch) for epoch, value in enumerate(curve, start=1)
        ]
    labels = [RunTag(name, value[:LONGEST]) for name, value in tags.items()]
    if entries or labels:
        client().log_batch(run_id, entries[:BATCH], tags=labels)
    for start in range(BATCH, len(entries), BATCH):
        client().log_batch(run_id, entries[start : start + BATCH])
    if files:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            get_artifact_repository(run_info(run_id).artifact_uri, uri()).log_artifacts(folder)


def delete_files(run: Run) -> None:
    """Delete the files of a run and of the models that it logged, and tag it `pruned`."""
    mine = f"source_run_id = '{run.info.run_id}'"
    for model in client().search_logged_models([run.info.experiment_id], filter_string=mine):
        get_artifact_repository(model.artifact_location).delete_artifacts()
        client().delete_logged_model(model.model_id)
    get_artifact_repository(run.info.artifact_uri).delete_artifacts()
    log(run.info.run_id, tags={"pruned": "yes"})


def page(run_id: str) -> str:
    """URL of the run, on the tracking server or on the UI as `make up` and `mlflow ui` start it."""
    server = (
        uri()
        if uri().startswith("http")
        else f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT', DEFAULT_PORT)}"
    )
    return f"{server.rstrip('/')}/#/experiments/{experiment_of(run_id)}/runs/{run_id}"


def address(run_id: str) -> str:
    """How to open the run: its URL, after the command that starts the UI where there is no tracking server."""
    if uri().startswith("http"):
        return page(run_id)
    port = os.environ.get("MLFLOW_PORT", DEFAULT_PORT)
    return f"{_relative(sys.executable)} -m mlflow ui --port {port} --backend-store-uri {uri()}   # {page(run_id)}"


@cache
def git_commit() -> str:
    """The commit of the checkout that is running, `unknown` outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def as_text(value: Any) -> str:
    """Return a value as MLflow shows it: nothing for None, the elements of a list by commas."""
    if value is None:
        return ""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _relative(path: str) -> str:
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path

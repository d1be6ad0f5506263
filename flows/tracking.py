"""What MLflow is told of a run. Nothing else imports mlflow, but for the model that it serves.

Every call names its run, because MLflow's active run belongs to one thread.
"""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import mlflow
import numpy as np
import pandas as pd
from filelock import FileLock
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

import rnn_core
from flows import served_model
from rnn_core import interchange
from rnn_core.config import Retrain, config_hash, flatten
from rnn_core.errors import TrackingError
from rnn_core.evaluation import Evaluation
from rnn_core.plots import Figures
from rnn_core.problems import Sequences, prices_needed
from rnn_core.sources import Prices
from rnn_core.studies.lesson import Finding, Trained
from rnn_core.training import Fit

SQLITE = "sqlite:///"
DEFAULT_URI = f"{SQLITE}mlflow.db"
KIND = {"mlflow.experimentKind": "custom_model_development"}  # opens on runs, not on traces of a language model
DEFAULT_PORT = 5000  # of MLflow's UI
BATCH = 1000  # metrics that MLflow takes in one request
SERVED_PACKAGES = ("mlflow", "numpy", "pandas", "pydantic", "threadpoolctl")
Status = Literal["FINISHED", "FAILED", "KILLED"]

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default retries an absent server for two minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "8")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
for chatty, level in (("mlflow", "WARNING"), ("alembic", "WARNING"), ("urllib3.connectionpool", "ERROR")):
    logging.getLogger(chatty).setLevel(level)


def uri() -> str:
    """Where runs are recorded: MLFLOW_TRACKING_URI, else a SQLite file in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def experiment_id(name: str) -> str:
    """The id of the experiment `name`, made if there is none.

    Raises:
        TrackingError: the store cannot be reached or used.
    """
    try:
        with _alone():
            found = _client(uri()).get_experiment_by_name(name)
            return found.experiment_id if found else _client(uri()).create_experiment(name, _artifacts(name), KIND)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise _unusable(error) from error


@contextmanager
def run(experiment: str, subject: str, config: BaseModel, tags: dict[str, str], flow_run_id: str) -> Iterator[str]:
    """Record one run of `config`: yields its id and closes it as FINISHED, FAILED or (interrupted) KILLED.

    `subject` and `tags` say what it is about.
    """
    experiment_number = experiment_id(experiment)
    client = _client(uri())
    tags = tags | {
        "prefect.flow_run_id": flow_run_id,
        "version": version("rnnflow"),
        "mlflow.source.name": f"flows.{experiment}",
        "mlflow.source.type": "PROJECT",
        "mlflow.source.git.commit": git_commit(),
    }
    started = client.create_run(experiment_number, run_name=f"{experiment}-{subject}", tags=tags)
    run_id: str = started.info.run_id
    status: Status = "KILLED"
    try:
        params = [Param(name, _text(value)) for name, value in flatten(config).items()]
        client.log_batch(run_id, params=params)
        client.log_text(run_id, config.model_dump_json(indent=2), "config.json")
        yield run_id
        status = "FINISHED"
    except Exception as error:
        status = "FAILED"
        with suppress(MlflowException):
            client.set_tag(run_id, "error", _one_line(error))
        if isinstance(error, MlflowException):
            raise _unusable(error) from error
        raise
    finally:
        client.set_terminated(run_id, status)


def close_runs_of(flow_run_id: str, status: Status) -> None:
    """Close what a flow run that was killed left RUNNING."""
    client = _client(uri())
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    mine = f"tags.`prefect.flow_run_id` = '{flow_run_id}' and attributes.status = 'RUNNING'"
    for left in client.search_runs(experiments, mine):
        client.set_terminated(left.info.run_id, status)


def log_prices(run_id: str, prices: Prices) -> None:
    """Tag the run with where its prices came from."""
    tags = {
        "data.source": prices.source,
        "data.sha256": prices.sha256,
        "data.column": prices.column,
        "data.exchange": prices.exchange,
        "data.first": f"{prices.frame.index[0]:%Y-%m-%d}",
        "data.last": f"{prices.frame.index[-1]:%Y-%m-%d}",
        "data.rows": str(len(prices.frame)),
        "data.fetched_at": prices.fetched_at.isoformat() if prices.fetched_at else "",
        "data.attainable_accuracy": _text(prices.attainable_accuracy),
        "data.warnings": "; ".join(prices.warnings)[:5000],
    }
    _tag(run_id, {name: value for name, value in tags.items() if value})


def log_made_data(run_id: str, sequences: Sequences) -> None:
    """Tag the run as one on data that a lesson makes for itself, with the hash of its inputs and targets."""
    digest = hashlib.sha256(sequences.x.tobytes() + sequences.y.tobytes()).hexdigest()
    _tag(run_id, {"data.source": "synthetic", "data.sha256": digest})


def log_fit(run_id: str, fit: Fit) -> None:
    """Log the mean losses of the models by epoch, and name those that were frozen."""
    train, valid = fit.losses
    curves = {"train/loss": train, "valid/loss": valid}
    metrics = {(name, epoch): loss for name, curve in curves.items() for epoch, loss in enumerate(curve, start=1)}
    _log_metrics(run_id, metrics | {("valid/best_loss", 0): valid.min()})
    seeds = fit.training.seeds
    frozen = [f"fold {m // seeds} seed {m % seeds} at update {fit.frozen[m]}" for m in fit.lost]
    models = {"models": str(len(fit)), "models.frozen": "; ".join(frozen)[:5000] or "none"}
    _tag(run_id, models | {"engine.used": fit.engine})


def log_evaluation(run_id: str, evaluation: Evaluation, figures: Figures, page: str) -> None:
    """Log the verdict, the scores, the table of calls by date, the figures and the report, an HTML `page`."""
    _log_metrics(run_id, {(name, 0): value for name, value in evaluation.scores.items()})
    dates, verdict = evaluation.calls.index, evaluation.verdict
    tags = {
        "verdict": verdict.tag,
        "verdict.reason": verdict.reason,
        "verdict.lowest_log_loss": verdict.lowest,
        "test.first": f"{dates[0]:%Y-%m-%d}",
        "test.last": f"{dates[-1]:%Y-%m-%d}",
    }
    undefined = {f"undefined.{name.replace('/', '.')}": why for name, why in evaluation.undefined.items()}
    _tag(run_id, tags | undefined)
    client = _client(uri())
    client.log_text(run_id, evaluation.calls.to_csv(), "calls.csv")
    client.log_text(run_id, evaluation.folds.to_csv(), "folds.csv")
    for name, figure in figures.items():
        client.log_figure(run_id, figure, f"figures/{name}")
    client.log_text(run_id, page, "report.html")


def log_study(run_id: str, trained: dict[str, Trained], finding: Finding) -> None:
    """Log what a lesson trained and found: settings, losses by epoch, scores, arrays by torch's names, figures, texts.

    The curve of the first variant is `train/loss`, its first model `params.npz`; those of the others bear their names.
    """
    client, metrics = _client(uri()), {(name, 0): value for name, value in finding.metrics.items()}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, one) in enumerate(trained.items()):
            suffix = f"_{name}" if number else ""
            curve = {(f"train/loss{suffix}", epoch): loss for epoch, loss in enumerate(one.fit.losses[0], start=1)}
            metrics |= curve | {(f"train/seconds{suffix}", 0): one.seconds}
            for model in range(len(one.fit)):
                file = Path(folder, f"params{suffix}{f'_{model}' if model else ''}.npz")
                np.savez(file, allow_pickle=False, **{name: value[model] for name, value in one.fit.params.items()})
                client.log_artifact(run_id, str(file))
    _log_metrics(run_id, metrics)
    _tag(run_id, {"engine.used": "; ".join(dict.fromkeys(one.fit.engine for one in trained.values()))})
    settings = {
        name: {"model": one.fit.model.model_dump(), "training": one.fit.training.model_dump()}
        for name, one in trained.items()
    }
    client.log_text(run_id, json.dumps(settings, indent=2), "variants.json")
    for name, figure in finding.figures.items():
        client.log_figure(run_id, figure, f"figures/{name}")
    for name, text in (finding.files | drawn(finding.files)).items():
        client.log_text(run_id, text, name)
    client.log_text(run_id, "\n".join(finding.sentences) + "\n", "finding.txt")


def drawn(files: dict[str, str]) -> dict[str, str]:
    """The graphs among the files, `….dot`, as pictures `….svg`; none where Graphviz is not installed."""
    if shutil.which("dot") is None:
        return {}
    command: Any = {"capture_output": True, "text": True, "check": True}
    graphs = {name: text for name, text in files.items() if name.endswith(".dot")}
    return {
        name.replace(".dot", ".svg"): subprocess.run(["dot", "-Tsvg"], input=text, **command).stdout
        for name, text in graphs.items()
    }


def trials(config: Retrain, source: str, first: pd.Timestamp, last: pd.Timestamp) -> int:
    """How many distinct configurations were tried on the ticker with test days from `first` to `last`, this one too.

    Repeats of one configuration, such as daily retrains, count once; tries on real prices and on synthetic ones, as
    the `source` says, are counted apart.
    """
    client, page, tried = _client(uri()), None, {config_hash(config)}
    same = f"tags.ticker = '{config.ticker}' and attributes.status = 'FINISHED'"
    while page != "":
        found = client.search_runs([experiment_id("retrain")], same, page_token=page)
        for tags in (run.data.tags for run in found):
            same_kind = tags.get("data.source", "").startswith("synthetic") == source.startswith("synthetic")
            days = tags.get("test.first", "9"), tags.get("test.last", "")
            if same_kind and days[0] <= f"{last:%Y-%m-%d}" and days[1] >= f"{first:%Y-%m-%d}":
                tried.add(tags["config_hash"])
        page = found.token or ""
    return len(tried)


def log_model(run_id: str, config: Retrain, prices: Prices, fit: Fit) -> str | None:
    """Log the live model as code and arrays; returns its registered version, None on fallback data.

    The model takes a frame of closing prices, and of volumes where a feature needs them, oldest first, and returns
    the probability that the session after the last one closes up.
    """
    columns = served_model.columns(config.problem)
    mlflow.set_tracking_uri(uri())  # logging a model knows no other way
    client = _client(uri())
    experiment = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(experiment, "model", source_run_id=run_id, tags={"ticker": config.ticker})
    with tempfile.TemporaryDirectory() as folder:
        arrays, problem = Path(folder, "arrays.npz"), Path(folder, "problem.json")
        interchange.save(fit.live, arrays)
        problem.write_text(config.problem.model_dump_json(), encoding="utf-8")
        info = Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            model_id=logged.model_id,
            python_model=served_model.__file__,
            artifacts={"arrays": str(arrays), "problem": str(problem)},
            code_paths=[str(Path(rnn_core.__file__).parent)],
            signature=ModelSignature(
                inputs=Schema([ColSpec("double", column) for column in columns]),
                outputs=Schema([ColSpec("double", name) for name in served_model.OUTPUTS]),
            ),
            input_example=prices.frame[columns].tail(prices_needed(config.problem)).reset_index(drop=True),
            pip_requirements=[f"{package}=={version(package)}" for package in SERVED_PACKAGES],
        )
    if prices.source == "synthetic-fallback":
        return None
    registered = mlflow.register_model(info.model_uri, f"direction-{config.ticker}")
    _tag(run_id, {"model.version": str(registered.version)})
    return str(registered.version)


def describe(run_id: str, markdown: str) -> None:
    """Put the text at the head of the run's page."""
    _tag(run_id, {"mlflow.note.content": markdown})


def page(run_id: str) -> str:
    """URL of the run, on the tracking server or on the UI as `make up` and `mlflow ui` start it."""
    server = uri() if uri().startswith("http") else f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT', DEFAULT_PORT)}"
    experiment = _client(uri()).get_run(run_id).info.experiment_id
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"


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


@cache
def _client(tracking_uri: str) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri)


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


def _log_metrics(run_id: str, metrics: dict[tuple[str, int], float]) -> None:
    now = int(time.time() * 1000)
    entries = [Metric(name, float(value), now, step) for (name, step), value in metrics.items()]
    for start in range(0, len(entries), BATCH):
        _client(uri()).log_batch(run_id, metrics=entries[start : start + BATCH])


def _tag(run_id: str, tags: dict[str, str]) -> None:
    _client(uri()).log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _unusable(error: Exception) -> TrackingError:
    reason = _one_line(_reason(error))
    return TrackingError(f"MLflow at {uri()} cannot be used ({reason}); check MLFLOW_TRACKING_URI")


def _reason(error: BaseException) -> BaseException:
    """The operating system's word on it if there is one, such as a refused connection, else the error itself."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.errno):
        cause = cause.__cause__ or cause.__context__
    return cause or error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]


def _relative(path: str) -> str:
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path

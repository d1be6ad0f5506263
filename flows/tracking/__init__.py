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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import mlflow
import numpy as np
import pandas as pd
from filelock import FileLock
from mlflow.entities import Metric, Param, Run, RunInfo, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from rnn_core.commands import Retrain, config_hash, flatten
from rnn_core.data.prices import SYNTHETIC_FALLBACK, Prices, is_synthetic
from rnn_core.errors import TrackingError
from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Sequences
from rnn_core.nn.training import Fit
from rnn_core.operations.promotion import Judgement
from rnn_core.operations.standing import Standing
from rnn_core.reporting.figures import rendered
from rnn_core.reporting.pages import ticker_page, universe_page
from rnn_core.studies.study import Finding, Trained

SQLITE = "sqlite:///"
DEFAULT_URI = f"{SQLITE}mlflow.db"
TRAINED = ("retrain", "retrain-universe")  # experiments whose runs train a ticker
KIND = {
    "mlflow.experimentKind": "custom_model_development"
}  # opens on runs, not on traces of a language model
DEFAULT_PORT = 5000  # of MLflow's UI
BATCH = 1000  # metrics that MLflow takes in one request
LONGEST = 8000  # characters of a tag
RUNS: dict[
    str, RunInfo
] = {}  # that this process has met, by id, as they were: to ask for a run takes MLflow long
Status = Literal["FINISHED", "FAILED", "KILLED"]

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
        params = [Param(name, _text(value)) for name, value in flatten(config).items()]
        store.log_batch(run_id, params=params)
        log(run_id, files={"config.json": config.model_dump_json(indent=2)})
        yield run_id
        status = "FINISHED"
    except Exception as error:
        status = "FAILED"
        with suppress(MlflowException):
            store.set_tag(run_id, "error", _one_line(error))
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


def search(which: str, experiments: Sequence[str] | None = None) -> Iterator[Run]:
    """The runs that fit a filter of MLflow's, the latest first, in all experiments or those named.

    Raises:
        TrackingError: the store cannot be reached or used.
    """
    try:
        names = {one.name: one.experiment_id for one in client().search_experiments()}
    except (MlflowException, SQLAlchemyError) as error:
        raise unusable(error) from error
    ids = [number for name, number in names.items() if experiments is None or name in experiments]
    page = None if ids else ""
    while page != "":
        found = client().search_runs(ids, which, page_token=page)
        yield from found
        page = found.token or ""


def trained(config_hash: str, session: str, ticker: str | None = None) -> set[str]:
    """The tickers, or the one, that this configuration was trained on when `session` was the last that had closed."""
    wanted = {"config_hash": config_hash, "session": session} | (
        {"ticker": ticker} if ticker else {}
    )
    which = [f"tags.{name} = '{value}'" for name, value in wanted.items()]
    which += ["attributes.status = 'FINISHED'", f"tags.`data.source` != '{SYNTHETIC_FALLBACK}'"]
    return {run.data.tags["ticker"] for run in search(" and ".join(which), TRAINED)}


def first(which: str, experiments: Sequence[str]) -> str | None:
    """Id of the latest run that fits a filter of MLflow's."""
    return next((run.info.run_id for run in search(which, experiments)), None)


def finished_child(parent: str, ticker: str) -> str | None:
    """Id of the run of a ticker that has finished as a child of the run `parent`.

    Raises:
        TrackingError: the store cannot be reached, or does not know `parent`.
    """
    mine = f"tags.`mlflow.parentRunId` = '{parent}' and tags.ticker = '{ticker}' and attributes.status = 'FINISHED'"
    try:
        found = client().search_runs([experiment_of(parent)], mine, max_results=1)
    except (MlflowException, SQLAlchemyError) as error:
        if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
            raise unusable(error) from error
        raise TrackingError(
            f"MLflow at {uri()} does not know the run {parent}; start workers in the folder of the flow, or with its "
            "MLFLOW_TRACKING_URI and LEDGER_URL"
        ) from error
    return found[0].info.run_id if found else None


def delete_files(run: Run) -> None:
    """Delete the files of a run and of the models that it logged, and tag it `pruned`."""
    mine = f"source_run_id = '{run.info.run_id}'"
    for model in client().search_logged_models([run.info.experiment_id], filter_string=mine):
        get_artifact_repository(model.artifact_location).delete_artifacts()
        client().delete_logged_model(model.model_id)
    get_artifact_repository(run.info.artifact_uri).delete_artifacts()
    log(run.info.run_id, tags={"pruned": "yes"})


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
            get_artifact_repository(_info(run_id).artifact_uri, uri()).log_artifacts(folder)


def data_tags(prices: Prices) -> dict[str, str]:
    """What a run is tagged with of where its prices came from."""
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
        "data.warnings": "; ".join(prices.warnings),
    }
    return {name: value[:LONGEST] for name, value in tags.items() if value}


def log_made_data(run_id: str, sequences: Sequences) -> None:
    """Tag the run as one on data that a study makes for itself, with the hash of its inputs and targets."""
    digest = hashlib.sha256(sequences.x.tobytes() + sequences.y.tobytes()).hexdigest()
    log(run_id, tags={"data.source": "synthetic", "data.sha256": digest})


def log_training(
    run_id: str,
    fit: Fit,
    evaluation: Evaluation,
    images: Mapping[str, bytes],
    page: str,
    model_version: int | None,
) -> None:
    """Log what was trained and how it did: mean losses by epoch, scores, verdict, calls, figures and report.

    `images` are the figures as PNG by file name, `page` the report as HTML, `model_version` what was registered.
    """
    train, valid = fit.losses
    dates, verdict, seeds = evaluation.calls.index, evaluation.verdict, fit.training.seeds
    frozen = [f"fold {m // seeds} seed {m % seeds} at update {fit.frozen[m]}" for m in fit.lost]
    tags = {
        "models": str(len(fit)),
        "models.frozen": "; ".join(frozen) or "none",
        "engine.used": fit.engine,
        "verdict": verdict.tag,
        "verdict.reason": verdict.reason,
        "verdict.lowest_log_loss": verdict.lowest,
        "test.first": f"{dates[0]:%Y-%m-%d}",
        "test.last": f"{dates[-1]:%Y-%m-%d}",
    }
    if model_version is not None:
        tags["model.version"] = str(model_version)
    files: dict[str, bytes | str] = {f"figures/{name}": image for name, image in images.items()}
    files |= {
        "calls.csv": evaluation.calls.to_csv(),
        "folds.csv": evaluation.folds.to_csv(),
        "report.html": page,
    }
    log(
        run_id,
        metrics={names.BEST_VALID_LOSS: valid.min(), **evaluation.scores},
        curves={names.TRAIN_LOSS: train, names.VALID_LOSS: valid},
        tags=tags
        | {
            f"undefined.{name.replace('/', '.')}": why for name, why in evaluation.undefined.items()
        },
        files=files,
    )


def log_study(run_id: str, trained: dict[str, Trained], finding: Finding) -> None:
    """Log what a study trained and found: settings, losses by epoch, scores, arrays by torch's names, figures, texts.

    The curve of the first variant is `train/loss`, its first model `params.npz`; those of the others bear their names.
    """
    metrics, curves = dict(finding.metrics), {}
    files: dict[str, bytes | str] = {
        f"figures/{name}": image for name, image in rendered(finding.figures).items()
    }
    for number, (name, one) in enumerate(trained.items()):
        suffix = f"_{name}" if number else ""
        curves[f"{names.TRAIN_LOSS}{suffix}"], metrics[f"train/seconds{suffix}"] = (
            one.fit.losses[0],
            one.seconds,
        )
        for model in range(len(one.fit)):
            arrays = BytesIO()
            np.savez(
                arrays,
                allow_pickle=False,
                **{name: value[model] for name, value in one.fit.params.items()},
            )
            files[f"params{suffix}{f'_{model}' if model else ''}.npz"] = arrays.getvalue()
    settings = {
        name: {"model": asdict(one.fit.model), "training": asdict(one.fit.training)}
        for name, one in trained.items()
    }
    texts = {
        "variants.json": json.dumps(settings, indent=2),
        "finding.txt": "\n".join(finding.sentences) + "\n",
    }
    log(
        run_id,
        metrics=metrics,
        curves=curves,
        tags={"engine.used": "; ".join(dict.fromkeys(one.fit.engine for one in trained.values()))},
        files=files | finding.files | drawn(finding.files) | texts,
    )


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
    tried = config_hash(config)
    others = f"tags.ticker = '{config.ticker}' and tags.config_hash != '{tried}' and attributes.status = 'FINISHED'"
    found = {tried}
    for tags in (run.data.tags for run in search(others, TRAINED)):
        same_kind = is_synthetic(tags.get("data.source", "")) == is_synthetic(source)
        days = tags.get("test.first", "9"), tags.get("test.last", "")
        if same_kind and days[0] <= f"{last:%Y-%m-%d}" and days[1] >= f"{first:%Y-%m-%d}":
            found.add(tags["config_hash"])
    return len(found)


def log_forecasts(run_id: str, forecasts: pd.DataFrame) -> None:
    """Log rows of the ledger as a table, and of a single one the probability and its spread."""
    log(run_id, files={"forecasts.csv": forecasts.to_csv(index=False)})
    if len(forecasts) == 1:
        said = forecasts.iloc[0]
        metrics = {
            f"forecast/{name}": said[name]
            for name in ("probability", "spread")
            if said[name] is not None
        }
        log(
            run_id,
            metrics=metrics,
            tags={"session": str(said["session"]), "model.version": str(said["model_version"])},
        )


def log_standings(
    run_id: str,
    standings: Mapping[str, Standing],
    failed: Mapping[str, str],
    title: str,
    *,
    each: bool = True,
) -> None:
    """Log the page of all tickers, and of `each`, their live records, and why others failed."""
    everyone = list(standings.values())
    pages = {f"tickers/{one.ticker}.html": ticker_page(one) for one in everyone if each}
    pages |= {
        "universe.html": universe_page(everyone, failed, title),
        "failed.json": json.dumps(failed, indent=2),
    }
    metrics: dict[str, float] = {"tickers/done": len(everyone), "tickers/failed": len(failed)}
    if len(everyone) == 1 and everyone[0].record is not None:
        metrics |= {f"live/{name}": value for name, value in asdict(everyone[0].record).items()}
    records = {one.ticker: asdict(one.record) for one in everyone if one.record}
    if records:
        pages["live.csv"] = pd.DataFrame.from_dict(records, orient="index").to_csv(
            index_label="ticker"
        )
    alarms = [
        f"{one.ticker}: {alarm.kind}: {alarm.text}" for one in everyone for alarm in one.alarms
    ]
    log(run_id, metrics=metrics, tags={"alarms": "; ".join(alarms) or "none"}, files=pages)


def describe(
    run_id: str,
    markdown: str,
    seconds: Mapping[str, float] = MappingProxyType({}),
    judgement: Judgement | None = None,
) -> None:
    """Put the text at the head of the run's page; log what each step took, whether the model was promoted, and why."""
    tags, files = {"mlflow.note.content": markdown}, {}
    if judgement is not None:
        outcome = {
            "promotion": "promoted" if judgement.promoted else "kept",
            "promotion.reason": judgement.reason,
        }
        tags |= outcome | {
            f"promotion.{name}": f"{value:.6g}" for name, value in judgement.figures.items()
        }
        found = {
            **outcome,
            "checks": [asdict(check) for check in judgement.checks],
            **judgement.figures,
        }
        files = {"promotion.json": json.dumps(found, indent=2)}
    log(
        run_id,
        metrics={f"seconds/{step}": elapsed for step, elapsed in seconds.items()},
        tags=tags,
        files=files,
    )


def page(run_id: str) -> str:
    """URL of the run, on the tracking server or on the UI as `make up` and `mlflow ui` start it."""
    server = (
        uri()
        if uri().startswith("http")
        else f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT', DEFAULT_PORT)}"
    )
    return f"{server.rstrip('/')}/#/experiments/{experiment_of(run_id)}/runs/{run_id}"


def experiment_of(run_id: str) -> str:
    """Id of the experiment that a run belongs to."""
    return _info(run_id).experiment_id


def get_run(run_id: str) -> Run:
    """The run as it is now."""
    found = client().get_run(run_id)
    RUNS[run_id] = found.info
    return found


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


def client() -> mlflow.MlflowClient:
    """The client of the store at `uri()`."""
    mlflow.set_tracking_uri(uri())  # loading a model knows no other way
    return _client(uri())


@cache
def _client(tracking_uri: str) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri)


def _info(run_id: str) -> RunInfo:
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


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def unusable(error: Exception) -> TrackingError:
    """What is raised where the store cannot be reached or used, with the reason in one line."""
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

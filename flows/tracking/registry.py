"""Registered models: `direction-<TICKER>`, whose aliases `challenger` and `champion` say which version is which."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from threading import Lock

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

import rnn_core
from flows.tracking import served_model
from flows.tracking.store import client, experiment_of, get_run, unusable
from rnn_core.commands import Retrain
from rnn_core.data.prices import SYNTHETIC_FALLBACK, Prices
from rnn_core.data.windows import prices_needed
from rnn_core.errors import ChampionMissing
from rnn_core.evaluation.metrics import log_losses
from rnn_core.nn import checkpoints
from rnn_core.nn.training import Fit
from rnn_core.operations.promotion import Candidate

PREFIX = "direction-"
CHAMPION, CHALLENGER = "champion", "challenger"
ABSENT = (
    "RESOURCE_DOES_NOT_EXIST",
    "INVALID_PARAMETER_VALUE",
)  # MLflow, of a thing, and of an alias, that it has not
LOADING = Lock()
SERVED_PACKAGES = ("mlflow", "numpy", "pandas", "pydantic", "threadpoolctl")
SERVED = (  # the files of the package that the served model imports: it computes in NumPy
    {
        "__init__.py",
        "arrays.py",
        "config.py",
        "errors.py",
        "sequences.py",
        "checkpoints.py",
        "layers.py",
        "losses.py",
    }
    | {"network.py", "optim.py", "windows.py", "features.py", "settings.py", "training.py"}
    | {"nn", "data", "engines", "kernel.py", "numpy_engine.py", "unrolled.py"}
)


def model_name(ticker: str) -> str:
    """Return the name of the registered model of a ticker."""
    return PREFIX + ticker


def register(run_id: str, config: Retrain, prices: Prices, fit: Fit) -> int | None:
    """Log the live model as code and arrays, and register it as `challenger`; its version, None on fallback data.

    The model takes a frame of closing prices, and of volumes where a feature needs them, oldest first, and returns
    the probability that the session after the last one closes up.
    """
    columns = served_model.columns(config.problem)
    logged = client().create_logged_model(
        experiment_of(run_id), "model", source_run_id=run_id, tags={"ticker": config.ticker}
    )
    with tempfile.TemporaryDirectory() as folder:
        arrays, problem, code = (
            Path(folder, name) for name in ("arrays.npz", "problem.json", rnn_core.__name__)
        )
        checkpoints.save(fit.live, arrays)
        problem.write_text(config.problem.model_dump_json(), encoding="utf-8")
        shutil.copytree(
            Path(rnn_core.__file__).parent, code, ignore=lambda _, names: set(names) - SERVED
        )
        mlflow.pyfunc.save_model(
            path=Path(folder, "model"),
            mlflow_model=Model(run_id=run_id, model_id=logged.model_id),
            python_model=served_model.__file__,
            artifacts={"arrays": str(arrays), "problem": str(problem)},
            code_paths=[str(code)],
            signature=ModelSignature(
                inputs=Schema([ColSpec("double", column) for column in columns]),
                outputs=Schema([ColSpec("double", name) for name in served_model.OUTPUTS]),
            ),
            input_example=prices.frame[columns]
            .tail(prices_needed(config.problem))
            .reset_index(drop=True),
            pip_requirements=_requirements(),
        )
        client().log_model_artifacts(logged.model_id, str(Path(folder, "model")))
    client().finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    if prices.source == SYNTHETIC_FALLBACK:
        return None
    name = model_name(config.ticker)
    try:
        client().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    registered = client().create_model_version(
        name, f"models:/{logged.model_id}", run_id, model_id=logged.model_id, await_creation_for=0
    )
    client().set_registered_model_alias(name, CHALLENGER, registered.version)
    return int(registered.version)


def set_champion_alias(ticker: str, model_version: int) -> None:
    """Make a version the champion.

    Raises:
        ChampionMissing: it was deleted.
    """
    with _or_missing(ticker, f"version {model_version} was deleted"):
        client().set_registered_model_alias(model_name(ticker), CHAMPION, str(model_version))


def champion(ticker: str) -> Candidate | None:
    """The champion of the ticker, None if it has none.

    Raises:
        ChampionMissing: its run was deleted.
    """
    try:
        with _asking():
            found = client().get_model_version_by_alias(model_name(ticker), CHAMPION)
    except _Absent:
        return None
    with _or_missing(ticker, f"its run {found.run_id} was deleted"):
        return candidate(int(found.version), get_run(found.run_id or ""))


def candidate(model_version: int, run: Run) -> Candidate:
    """What is known of a version that the finished or finishing `run` has trained."""
    tags = run.data.tags
    return Candidate(
        version=model_version,
        run_id=run.info.run_id,
        config_hash=tags["config_hash"],
        exchange=tags["data.exchange"],
        data_source=tags["data.source"],
        data_sha256=tags["data.sha256"],
        data_last=date.fromisoformat(tags["data.last"]),
        verdict=tags["verdict"],
        scores=run.data.metrics,
        losses=partial(_losses, run.info.run_id),
    )


def with_champion() -> list[str]:
    """The tickers that have a champion, in order."""
    found, page = [], None
    while page != "":
        models = client().search_registered_models(f"name LIKE '{PREFIX}%'", page_token=page)
        found += [model.name.removeprefix(PREFIX) for model in models if CHAMPION in model.aliases]
        page = models.token or ""
    return sorted(found)


def versions_with_alias(ticker: str) -> set[int]:
    """The versions that the challenger, the champion or any other alias stands for."""
    try:
        with _asking():
            return {
                int(version)
                for version in client().get_registered_model(model_name(ticker)).aliases.values()
            }
    except _Absent:
        return set()


def registered(run_id: str) -> list[tuple[str, int]]:
    """Name and number of each version of a run's model, whether the run lived to note it or not, whoever named it."""
    with _asking():
        found = client().search_model_versions(f"run_id = '{run_id}'")
    return [(one.name, int(one.version)) for one in found]


def delete(ticker: str, model_version: int) -> None:
    """Delete a version; nothing happens if it is gone already."""
    with suppress(_Absent), _asking():
        client().delete_model_version(model_name(ticker), str(model_version))


def configuration(ticker: str, run_id: str) -> Retrain:
    """What the run was told.

    Raises:
        ChampionMissing: the run or its files were deleted.
    """
    with _or_missing(ticker, f"its run {run_id} or its files were deleted"):
        folder = client().get_run(run_id).info.artifact_uri
        return Retrain.model_validate_json(mlflow.artifacts.load_text(f"{folder}/config.json"))


def call(ticker: str, model_version: int, frame: pd.DataFrame) -> tuple[float, float]:
    """The probability that a registered version gives for the session after the prices `frame`, and its spread.

    Raises:
        ChampionMissing: the version or its files were deleted.
    """
    with _or_missing(ticker, f"version {model_version} or its files were deleted"), _loading():
        # Its code and arrays come with it: that it was logged with other packages is no matter
        model = mlflow.pyfunc.load_model(
            f"models:/{model_name(ticker)}/{model_version}", suppress_warnings=True
        )
    columns = model.metadata.get_input_schema().input_names()
    forecast = model.predict(frame[columns].astype(float)).iloc[0]
    return float(forecast["probability_up"]), float(forecast["spread"])


def without_champion(ticker: str, earlier: Sequence[int]) -> ChampionMissing:
    """What is raised where a ticker has no champion, though the versions `earlier` may have been."""
    if earlier:
        return _missing(ticker, f"version {earlier[-1]} was deleted, or its alias taken away")
    return ChampionMissing(
        f"{ticker} has no champion yet; retrain it: python -m flows.retrain --ticker {ticker}"
    )


@cache
def _requirements() -> list[str]:
    return [f"{package}=={version(package)}" for package in SERVED_PACKAGES]


def _losses(run_id: str) -> "pd.Series[float]":
    with tempfile.TemporaryDirectory() as folder:
        calls = pd.read_csv(
            client().download_artifacts(run_id, "calls.csv", folder),
            index_col="date",
            parse_dates=True,
        )
    return pd.Series(
        log_losses(calls["up"].to_numpy(), calls["probability"].to_numpy()), calls.index
    )


class _Absent(Exception):
    """MLflow does not find what is asked for."""


@contextmanager
def _asking() -> Iterator[None]:
    """Tells a thing that is not there from a store that cannot be reached.

    Raises:
        _Absent: the one.
        TrackingError: the other.
    """
    try:
        yield
    except MlflowException as error:
        raise _Absent if error.error_code in ABSENT else unusable(error) from error


@contextmanager
def _or_missing(ticker: str, what: str) -> Iterator[None]:
    """Says that the champion is missing, and why, where MLflow does not find what is asked for."""
    try:
        with _asking():
            yield
    except _Absent as error:
        raise _missing(ticker, what) from error


def _missing(ticker: str, what: str) -> ChampionMissing:
    return ChampionMissing(
        f"the champion of {ticker} cannot be used: {what}; retrain it, or return to the one before with "
        f"python -m flows.rollback --ticker {ticker}"
    )


@contextmanager
def _loading() -> Iterator[None]:
    """Loads one model at a time, and takes its code from `sys.path` again, where MLflow leaves it before all else.

    MLflow hands a model that it loads over in a variable of the whole process.
    """
    with LOADING:
        before = list(sys.path)
        try:
            yield
        finally:
            sys.path[:] = before

"""Pack the model of a run to be registered: code, arrays, sessions and requirements."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock

import mlflow
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

from flows.tracking import served_model
from flows.tracking.served_code import copy_served_code, make_older_names_importable
from flows.tracking.store import client
from rnn_core.config import Problem
from rnn_core.data.exchanges import all_sessions, time_zone
from rnn_core.data.prices import Prices
from rnn_core.data.served_frames import needed_columns
from rnn_core.data.windows import prices_needed
from rnn_core.nn import checkpoints
from rnn_core.nn.training import Fit

LOADING = Lock()
SERVED_PACKAGES = ("mlflow", "numpy", "pandas", "pydantic", "threadpoolctl")


def save(model: Model, folder: Path, problem: Problem, prices: Prices, fit: Fit) -> Path:
    """Save the live model of a fit in a folder of `folder`, and return it."""
    arrays = folder / "arrays.npz"
    problem_file = folder / "problem.json"
    checkpoints.save(fit.live, arrays)
    problem_file.write_text(problem.model_dump_json(), encoding="utf-8")
    columns = needed_columns(problem)
    example = prices.frame[columns].tail(prices_needed(problem)).reset_index(drop=True)
    sessions = {} if prices.own_sessions else _saved_sessions(folder, prices.exchange)
    saved = folder / "model"
    mlflow.pyfunc.save_model(
        path=saved,
        mlflow_model=model,
        python_model=served_model.__file__,
        artifacts={"arrays": str(arrays), "problem": str(problem_file), **sessions},
        code_paths=[str(copy_served_code(folder))],
        signature=_signature(),
        model_config={"exchange": prices.exchange, "time_zone": time_zone(prices.exchange)},
        input_example=example,
        pip_requirements=_requirements(),
    )
    return saved


@contextmanager
def loading() -> Iterator[None]:
    """Load one model at a time, and restore `sys.path`, where MLflow leaves the model's code first.

    MLflow passes a model that it loads through a variable of the whole process.
    """
    with LOADING:
        make_older_names_importable()
        client()  # tells MLflow, which loads from the store it was told of last, where ours is
        before = list(sys.path)
        try:
            yield
        finally:
            sys.path[:] = before


def _saved_sessions(folder: Path, exchange: str) -> dict[str, str]:
    """Save the sessions of the exchange, 20 to 40 kB, and return the file as an artifact."""
    file = folder / "sessions.npz"
    days = all_sessions(exchange).to_numpy("datetime64[D]")
    np.savez_compressed(file, sessions=days)
    return {"sessions": str(file)}


def _signature() -> ModelSignature:
    """Return the signature, which describes the outputs alone.

    Inputs of any type would make MLflow refuse a CSV, and drop columns of other usual names;
    a column of doubles would refuse whole numbers. The model itself says what it needs.
    """
    return ModelSignature(
        outputs=Schema([ColSpec("double", name) for name in served_model.OUTPUTS])
    )


@cache
def _requirements() -> list[str]:
    return [f"{package}=={version(package)}" for package in SERVED_PACKAGES]

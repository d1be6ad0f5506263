"""The files of a registered version, which are used whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from pydantic import ValidationError

from flows.tracking import files, integrity, packaging
from flows.tracking.registry import model_name, or_missing
from flows.tracking.store import client, get_run, one_line
from rnn_core.commands import Retrain
from rnn_core.errors import ChampionDamaged, FileDamaged
from rnn_core.owners import temporary_folder


def configuration(ticker: str, run_id: str) -> Retrain:
    """Return the configuration of a run.

    Raises:
        ChampionMissing: the run was deleted.
        ChampionDamaged: its file is missing or has changed.
        TrackingError: the store cannot be reached or used.
    """
    with or_missing(ticker, f"its run {run_id} was deleted"):
        run = get_run(run_id)
    try:
        return Retrain.model_validate_json(files.text(run, files.CONFIG))
    except FileDamaged as error:
        raise _damaged(ticker, str(error)) from error
    except ValidationError as error:
        reason = f"{files.CONFIG} of run {run_id} cannot be read ({one_line(error)})"
        raise _damaged(ticker, reason) from error


def call(ticker: str, model_version: int, frame: pd.DataFrame) -> tuple[float, float]:
    """Return a version's probability that the session after the prices closes up, and its spread.

    Raises:
        ChampionMissing: the version was deleted.
        ChampionDamaged: a file of it is missing or has changed.
        TrackingError: the store cannot be reached or used.
    """
    model = _loaded(ticker, model_version)
    # Older models list their columns, and MLflow warns of any other
    schema = model.metadata.get_input_schema()
    names = frame.columns if schema is None else schema.input_names()
    columns = [name for name in names if name in frame]
    # Without dates: the caller has held the prices against the calendar, which knows more
    undated = frame[columns].astype(float).reset_index(drop=True)
    forecast = model.predict(undated).iloc[0]
    return float(forecast["probability_up"]), float(forecast["spread"])


def refuse_unusable(ticker: str, model_version: int, run_id: str) -> None:
    """Raise what `configuration` and `call` would if they cannot use the version and its run."""
    configuration(ticker, run_id)
    _loaded(ticker, model_version)


def _loaded(ticker: str, model_version: int) -> Any:
    """Return the model of a version, loaded from files that were checked against its manifest."""
    with _checked_files(ticker, model_version) as folder, packaging.loading():
        try:
            # The model brings its code and arrays; the versions of packages may differ
            return mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
        except Exception as error:  # damaged files of an older version may raise anything
            reason = f"version {model_version} cannot be loaded ({one_line(error)})"
            raise _damaged(ticker, reason) from error


@contextmanager
def _checked_files(ticker: str, model_version: int) -> Iterator[Path]:
    """Yield a folder with the files of a version; those of older versions have no manifest."""
    name = model_name(ticker)
    with (
        temporary_folder() as folder,
        or_missing(ticker, f"version {model_version} was deleted"),
    ):
        tags = client().get_model_version(name, str(model_version)).tags
        try:
            uri = f"models:/{name}/{model_version}"
            downloaded = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
        except OSError as error:
            reason = f"files of version {model_version} are missing ({one_line(error)})"
            raise _damaged(ticker, reason) from error
        if integrity.MANIFEST_TAG in tags:
            damage = integrity.damage(downloaded, tags[integrity.MANIFEST_TAG])
            if damage:
                raise _damaged(ticker, f"in version {model_version} {damage}")
        yield downloaded


def _damaged(ticker: str, reason: str) -> ChampionDamaged:
    return ChampionDamaged(
        f"the champion of {ticker} is damaged: {reason}; retrain it, or roll back to another: "
        f"python -m flows.rollback --ticker {ticker} --to VERSION"
    )

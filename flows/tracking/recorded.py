"""Read back a training run, to repeat it and to compare every bit."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from mlflow.entities import Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from pydantic import ValidationError

from flows.tracking import calls, files
from flows.tracking.queries import finished_training, logged_models
from flows.tracking.store import asking, client, one_line
from rnn_core.commands import Retrain
from rnn_core.data import vintages
from rnn_core.data.loading import has_own_sessions
from rnn_core.data.prices import Prices, SourceName
from rnn_core.errors import NotFound, ReproductionError
from rnn_core.evaluation import names
from rnn_core.evaluation.spending import Look
from rnn_core.nn import checkpoints
from rnn_core.nn.arrays import Array
from rnn_core.operations.reproduction import Results, results
from rnn_core.owners import temporary_folder

SECONDS = "seconds/"  # what the names of metrics of time start with
LOOK = (names.significance("trials"), names.significance("level"))


@dataclass(frozen=True)
class Recorded:
    """A finished training run of one ticker.

    Attributes:
        run: as MLflow has it.
        config: its configuration.
        results: what it recorded, ready to be compared.
        versions: of what it ran with, by name; older runs recorded few.
    """

    run: Run
    config: Retrain
    results: Results
    versions: dict[str, str]

    @property
    def look(self) -> Look:
        """Which look at its test days the run was judged as."""
        number, level = (self.run.data.metrics[name] for name in LOOK)
        return Look(int(number), level)

    def prices(self) -> Prices:
        """Return the prices it saw, from their vintage.

        Raises:
            DataError: the vintage is missing or damaged.
        """
        tags = self.run.data.tags
        attainable = tags.get("data.attainable_accuracy")
        return Prices(
            ticker=self.config.ticker,
            frame=vintages.read(tags["data.sha256"]),
            source=cast(SourceName, tags["data.source"]),
            column=tags["data.column"],
            exchange=tags["data.exchange"],
            attainable_accuracy=None if attainable is None else float(attainable),
            own_sessions=has_own_sessions(self.config.source),
        )


def recorded(run_id: str) -> Recorded:
    """Return what a training run of one ticker has recorded.

    Raises:
        ConfigError: the run is unknown, of another kind, unfinished or pruned.
        ReproductionError: what it has recorded is incomplete or cannot be read.
        TrackingError: the store cannot be reached or used, or its calls cannot be read.
    """
    run = finished_training(run_id)
    for name in LOOK:
        if name not in run.data.metrics:
            raise _unreadable(run, f"it has no metric {name}")
    with _files_of(run):
        return Recorded(run, _config(run), _results(run), _versions(run))


@contextmanager
def _files_of(run: Run) -> Iterator[None]:
    """Raise ReproductionError if a file of the run is missing or cannot be read."""
    try:
        yield
    except ValidationError as error:
        problem = error.errors()[0]
        option = ".".join(str(part) for part in problem["loc"])
        written_by = run.data.tags.get("version", "another version")
        reason = f"its configuration is one of {written_by} ({option}: {problem['msg']})"
        raise _unreadable(run, reason) from error
    except (NotFound, OSError, LookupError, ValueError) as error:
        raise _unreadable(run, f"its files cannot be read ({one_line(error)})") from error


def _unreadable(run: Run, reason: str) -> ReproductionError:
    return ReproductionError(f"run {run.info.run_id} cannot be reproduced: {reason}")


def _config(run: Run) -> Retrain:
    return Retrain.model_validate_json(files.text(run, files.CONFIG))


def _results(run: Run) -> Results:
    calls.read(run)  # refuses a damaged file
    arrays = _curves(run) | _arrays(run)
    metrics = {
        name: value
        for name, value in run.data.metrics.items()
        if not name.startswith(SECONDS) and name not in arrays
    }
    return results(files.text(run, files.CALLS), arrays, metrics, _verdict(run))


def _curves(run: Run) -> dict[str, Array]:
    """Return the losses by epoch, each (E,)."""
    curves = {}
    for name in (names.TRAIN_LOSS, names.VALID_LOSS):
        history = client().get_metric_history(run.info.run_id, name)
        by_epoch = sorted(history, key=lambda metric: metric.step)
        curves[name] = np.array([metric.value for metric in by_epoch])
    return curves


def _arrays(run: Run) -> dict[str, Array]:
    """Return the arrays of the model that the run has logged."""
    models = logged_models(run)
    if not models:
        raise LookupError("its model was deleted")
    with temporary_folder() as folder:
        with asking():
            repository = get_artifact_repository(models[0].artifact_location)
            arrays = repository.download_artifacts("artifacts/arrays.npz", folder)
        return checkpoints.arrays_of(checkpoints.load(Path(arrays)))


def _verdict(run: Run) -> dict[str, str]:
    kinds = ("verdict", "models", "undefined.", "test.")
    return {name: text for name, text in run.data.tags.items() if name.startswith(kinds)}


def _versions(run: Run) -> dict[str, str]:
    tags = run.data.tags
    artifacts = client().list_artifacts(run.info.run_id)
    if any(artifact.path == files.VERSIONS for artifact in artifacts):
        versions: dict[str, str] = json.loads(files.text(run, files.VERSIONS))
        return versions
    names_of_tags = {
        "engine": "engine.used",
        "commit": "mlflow.source.git.commit",
        "rnnflow": "version",
    }
    return {name: tags[tag] for name, tag in names_of_tags.items() if tag in tags}

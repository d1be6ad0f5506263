"""Trained models and unfinished trainings as npz files without pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from rnn_core.errors import DataError
from rnn_core.nn.arrays import Array
from rnn_core.nn.settings import Model, Training
from rnn_core.nn.training import Checkpoint, Fit

FORMAT = 1
ARRAYS = ("center", "scale", "train_loss", "valid_loss", "frozen", "base_rate")  # those of a Fit


def save(fit: Fit, file: Path | BytesIO) -> None:
    """Write parameters, standardisation, losses and configuration of `fit`."""
    header = {
        "format": FORMAT,
        "model": asdict(fit.model),
        "training": asdict(fit.training),
        "kernel": fit.kernel,
    }
    np.savez(file, allow_pickle=False, header=np.array(json.dumps(header)), **arrays_of(fit))


def arrays_of(fit: Fit) -> dict[str, Array]:
    """Return the arrays that `save` writes, by name."""
    arrays = {name: getattr(fit, name) for name in ARRAYS}
    return arrays | {f"params.{name}": value for name, value in fit.params.items()}


def load(file: Path | BytesIO) -> Fit:
    """Return what `save` wrote, bit for bit.

    Raises:
        DataError: the file was written in another format.
    """
    with np.load(file, allow_pickle=False) as content:
        header = _header(file, content)
        names = [name for name in content.files if name.startswith("params.")]
        params = {name.removeprefix("params."): content[name] for name in names}
        arrays = {name: content[name] for name in ARRAYS}
    model = Model(**header["model"])
    training = _training(header["training"])
    kernel = header.get("kernel", False)  # older files do not say it
    return Fit(params=params, model=model, training=training, kernel=kernel, **arrays)


def _training(fields: dict[str, Any]) -> Training:
    """Return the settings from JSON, which has lists and no tuples."""
    weights = fields["class_weights"]
    if weights is not None:
        fields = fields | {"class_weights": tuple(weights)}
    return Training(**fields)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; the file appears, or replaces an earlier one, only when it is whole."""
    header = {"format": FORMAT, "epoch": checkpoint.epoch, "streams": checkpoint.streams}
    arrays = {"header": np.array(json.dumps(header))} | checkpoint.arrays
    unfinished = path.with_suffix(".unfinished.npz")
    np.savez(unfinished, allow_pickle=False, **arrays)
    unfinished.replace(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Return what `save_checkpoint` wrote.

    Raises:
        DataError: the file was written in another format.
    """
    with np.load(path, allow_pickle=False) as file:
        header = _header(path, file)
        arrays = {name: file[name] for name in file.files if name != "header"}
    return Checkpoint(header["epoch"], arrays, header["streams"])


def _header(file: Path | BytesIO, content: Mapping[str, Array]) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(str(content["header"]))
    if header["format"] != FORMAT:
        raise DataError(f"{file}: format {header['format']}; this version reads {FORMAT}")
    return header

"""Trained arrays on their way out and back: npz files without pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rnn_core.errors import DataError
from rnn_core.nn.arrays import Array
from rnn_core.nn.settings import Model, Training
from rnn_core.nn.training import Checkpoint, Fit

FORMAT = 1


def save(fit: Fit, path: Path) -> None:
    """Write parameters, standardisation, losses and configuration of `fit` to an npz file."""
    header = {"format": FORMAT, "model": asdict(fit.model), "training": asdict(fit.training)}
    np.savez(
        path,
        allow_pickle=False,
        header=np.array(json.dumps(header)),
        center=fit.center,
        scale=fit.scale,
        train_loss=fit.train_loss,
        valid_loss=fit.valid_loss,
        frozen=fit.frozen,
        base_rate=fit.base_rate,
        **{f"params.{name}": value for name, value in fit.params.items()},
    )


def load(path: Path) -> Fit:
    """Read what `save` wrote, bit for bit.

    Raises:
        DataError: the file was written in another format.
    """
    with np.load(path, allow_pickle=False) as arrays:
        header = _header(path, arrays)
        return Fit(
            params={n.removeprefix("params."): arrays[n] for n in arrays.files if n.startswith("params.")},
            center=arrays["center"],
            scale=arrays["scale"],
            train_loss=arrays["train_loss"],
            valid_loss=arrays["valid_loss"],
            frozen=arrays["frozen"],
            base_rate=arrays["base_rate"],
            model=Model(**header["model"]),
            training=_training(header["training"]),
        )


def _training(fields: dict[str, Any]) -> Training:
    """The settings from JSON, which knows lists and no tuples."""
    weights = fields["class_weights"]
    return Training(**fields | {"class_weights": None if weights is None else tuple(weights)})


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint to an npz file, in one go: a file that is there is whole."""
    header = json.dumps({"format": FORMAT, "epoch": checkpoint.epoch, "streams": checkpoint.streams})
    unfinished = path.with_suffix(".unfinished.npz")
    np.savez(unfinished, allow_pickle=False, header=np.array(header), **checkpoint.arrays)
    unfinished.replace(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises:
        DataError: the file was written in another format.
    """
    with np.load(path, allow_pickle=False) as arrays:
        header = _header(path, arrays)
        names = [name for name in arrays.files if name != "header"]
        return Checkpoint(header["epoch"], {name: arrays[name] for name in names}, header["streams"])


def _header(path: Path, arrays: Mapping[str, Array]) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(str(arrays["header"]))
    if header["format"] != FORMAT:
        raise DataError(f"{path}: format {header['format']}; this version reads {FORMAT}")
    return header

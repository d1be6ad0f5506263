"""Trained arrays on their way out and back: one npz file without pickle."""

import json
from pathlib import Path

import numpy as np

from rnn_core.config import Model, Training
from rnn_core.errors import DataError
from rnn_core.training import Fit

FORMAT = 1


def save(fit: Fit, path: Path) -> None:
    """Write parameters, standardisation, losses and configuration of `fit` to an npz file."""
    header = {"format": FORMAT, "model": fit.model.model_dump(), "training": fit.training.model_dump()}
    np.savez(
        path,
        allow_pickle=False,
        header=np.array(json.dumps(header)),
        center=fit.center,
        scale=fit.scale,
        train_loss=fit.train_loss,
        valid_loss=fit.valid_loss,
        frozen=fit.frozen,
        **{f"params.{name}": value for name, value in fit.params.items()},
    )


def load(path: Path) -> Fit:
    """Read what `save` wrote, bit for bit.

    Raises:
        DataError: the file was written in another format.
    """
    with np.load(path, allow_pickle=False) as arrays:
        header = json.loads(str(arrays["header"]))
        if header["format"] != FORMAT:
            raise DataError(f"{path}: model format {header['format']}; this version reads {FORMAT}")
        return Fit(
            params={n.removeprefix("params."): arrays[n] for n in arrays.files if n.startswith("params.")},
            center=arrays["center"],
            scale=arrays["scale"],
            train_loss=arrays["train_loss"],
            valid_loss=arrays["valid_loss"],
            frozen=arrays["frozen"],
            model=Model.model_validate(header["model"]),
            training=Training.model_validate(header["training"]),
        )

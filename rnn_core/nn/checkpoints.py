"""Trained models and unfinished trainings as npz files without pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from rnn_core.errors import DataError
from rnn_core.nn.arrays import Array
from rnn_core.nn.network import param_shapes
from rnn_core.nn.npz import Entry, File, damaged, entries
from rnn_core.nn.settings import Model, Training
from rnn_core.nn.training import Checkpoint, Fit

FORMAT = 1
ARRAYS = ("center", "scale", "train_loss", "valid_loss", "frozen", "base_rate")  # those of a Fit
HEADER = "header"  # JSON, as an array of one text
MAY_BE_NAN = ("train_loss", "valid_loss")  # where a model has stopped

Settings = TypeVar("Settings", Model, Training)


def save(fit: Fit, file: File) -> None:
    """Write parameters, standardisation, losses and configuration of `fit`."""
    header = {
        "format": FORMAT,
        "model": asdict(fit.model),
        "training": asdict(fit.training),
        "kernel": fit.kernel,
    }
    np.savez(file, allow_pickle=False, **{HEADER: np.array(json.dumps(header))}, **arrays_of(fit))


def arrays_of(fit: Fit) -> dict[str, Array]:
    """Return the arrays that `save` writes, by name."""
    arrays = {name: getattr(fit, name) for name in ARRAYS}
    return arrays | {f"params.{name}": value for name, value in fit.params.items()}


def load(file: File) -> Fit:
    """Return what `save` wrote, bit for bit.

    Raises:
        ArrayError: the file is damaged: an array is missing, of another shape or type than the
            settings need, or not finite; the message names the file and the array.
        DataError: the file was written in another format.
    """
    found = entries(file)
    header = _header(file, found)
    model = _settings(file, Model, header.get("model"))
    training = _settings(file, Training, header.get("training"))
    _refuse_other_arrays(file, found, _expected(file, found, model, training))
    arrays = {name: entry.array() for name, entry in found.items() if name != HEADER}
    _refuse_values(file, arrays)
    params = {
        name.removeprefix("params."): value
        for name, value in arrays.items()
        if name.startswith("params.")
    }
    rest: dict[str, Any] = {name: arrays[name] for name in ARRAYS}
    kernel = header.get("kernel") is True  # files of 0.2.0 do not say it
    return Fit(params=params, model=model, training=training, kernel=kernel, **rest)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; the file appears, or replaces an earlier one, only when it is whole."""
    header = {
        "format": FORMAT,
        "epoch": checkpoint.epoch,
        "streams": checkpoint.streams,
        "arrays": sorted(checkpoint.arrays),
    }
    arrays = {HEADER: np.array(json.dumps(header))} | checkpoint.arrays
    unfinished = path.with_suffix(".unfinished.npz")
    np.savez(unfinished, allow_pickle=False, **arrays)
    unfinished.replace(path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Return what `save_checkpoint` wrote; `fit` holds it against the training that it resumes.

    Raises:
        ArrayError: the file is damaged.
        DataError: the file was written in another format.
    """
    found = entries(path)
    header = _header(path, found)
    epoch: Any = header.get("epoch")
    streams: Any = header.get("streams")
    has_streams = isinstance(streams, dict) and all(
        isinstance(states, list) for states in streams.values()
    )
    if type(epoch) is not int or epoch < 0 or not has_streams:
        raise damaged(path, "its header has no epoch or no streams")
    arrays = {name: entry.array() for name, entry in found.items() if name != HEADER}
    if sorted(arrays) != header.get("arrays", sorted(arrays)):  # files of 0.2.0 do not list them
        raise damaged(path, "it has not the arrays that its header names")
    return Checkpoint(epoch, arrays, streams)


# What a file has to hold


def _header(path: File, found: Mapping[str, Entry]) -> dict[str, Any]:
    entry = found.get(HEADER)
    if entry is None or entry.shape or entry.dtype.kind != "U":
        raise damaged(path, f"array {HEADER!r} is missing or no text")
    try:
        header = json.loads(str(entry.array()))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or "format" not in header:
        raise damaged(path, f"array {HEADER!r} is no JSON of a header")
    if header["format"] != FORMAT:
        written = str(header["format"])[:20]
        raise DataError(f"{path}: format {written}; this version reads {FORMAT}")
    return header


def _settings(path: File, kind: type[Settings], given: Any) -> Settings:
    """Return settings from JSON, which has lists and no tuples."""
    name = kind.__name__.lower()
    hints = get_type_hints(kind)
    if not isinstance(given, dict) or not given.keys() <= {field.name for field in fields(kind)}:
        raise damaged(path, f"its header has no {name}, or one of another version")
    for field, value in given.items():
        if not _is(value, hints[field]):
            raise damaged(path, f"its header has another kind of {name}.{field}")
    tuples = {field: tuple(value) for field, value in given.items() if isinstance(value, list)}
    return kind(**given | tuples)


def _is(value: Any, kind: Any) -> bool:
    """Return True if a JSON value is of the kind that a type hint names."""
    options = get_args(kind)
    if get_origin(kind) is Literal:
        return value in options
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(_is(element, options[0]) for element in value)
    if options:
        return any(_is(value, option) for option in options)
    if kind is float:
        return type(value) in (int, float) and isfinite(value)
    return type(value) is kind


Expected: TypeAlias = dict[str, tuple[tuple[int, ...], tuple[str, ...]]]
"""The shape of each array and the types that it may have, by name."""


def _expected(path: File, found: Mapping[str, Entry], model: Model, training: Training) -> Expected:
    """Return the arrays that a fit with these settings has; it has as many models as `center`."""
    models, inputs = _two_axes(path, found, "center")
    _, outputs = _two_axes(path, found, "params.head.bias")
    if training.seeds < 1 or models % training.seeds:
        raise damaged(path, f"it has {models} models, no multiple of {training.seeds} seeds")
    if not 1 <= model.num_layers <= len(found) or model.hidden_size < 1:
        raise damaged(path, "its header has more layers than there are arrays, or no hidden unit")
    of_training = (training.dtype,)
    losses = ((models, training.epochs), ("float64",))
    shapes = param_shapes(model, inputs, outputs)
    return {
        "center": ((models, inputs), of_training),
        "scale": ((models, inputs), of_training),
        "train_loss": losses,
        "valid_loss": losses,
        "frozen": ((models,), ("int64", "int32")),
        "base_rate": ((models,), ("float64", "float32")),
        **{f"params.{name}": ((models, *shape), of_training) for name, shape in shapes.items()},
    }


def _two_axes(path: File, found: Mapping[str, Entry], name: str) -> tuple[int, int]:
    shape = found[name].shape if name in found else ()
    if len(shape) != 2 or 0 in shape:
        raise damaged(path, f"array {name!r} is missing, or has not two axes")
    rows, columns = shape
    return rows, columns


def _refuse_other_arrays(path: File, found: Mapping[str, Entry], expected: Expected) -> None:
    for name in sorted(expected.keys() ^ (found.keys() - {HEADER})):
        what = "is missing" if name in expected else "does not belong there"
        raise damaged(path, f"array {name[:80]!r} {what}")
    for name, (shape, types) in expected.items():
        entry = found[name]
        if entry.shape != shape or entry.dtype.name not in types or not entry.dtype.isnative:
            raise damaged(
                path,
                f"array {name!r} is {entry.dtype} of shape {entry.shape}; {types[0]} of shape "
                f"{shape} is expected",
            )


def _refuse_values(path: File, arrays: Mapping[str, Array]) -> None:
    for name, value in arrays.items():
        if name not in MAY_BE_NAN and not np.isfinite(value).all():
            raise damaged(path, f"array {name!r} has NaN or infinite values")
    if not (arrays["scale"] > 0).all():
        raise damaged(path, "array 'scale' has values of zero or less")

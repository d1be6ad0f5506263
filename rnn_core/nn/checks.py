"""Refuse arguments that `fit` and `predict` cannot use, each in one line that names it."""

from typing import Any

import numpy as np

from rnn_core.errors import ArrayError
from rnn_core.nn.arrays import Array, Params, check_array
from rnn_core.nn.losses import class_count
from rnn_core.nn.network import param_shapes
from rnn_core.nn.sequences import Folds, Sequences
from rnn_core.nn.settings import Model, Training

CLOSE_TO_ONE = 1e-6  # of the sum of a distribution over classes


def check_learnable(
    model: Model,
    training: Training,
    sequences: Sequences,
    folds: Folds,
    params0: Params | None,
    order: Array | None,
) -> None:
    """Refuse what `fit` cannot learn from.

    Raises:
        ArrayError: an array has another shape or type than the others need, a row or a length is
            out of range, a fold has nothing to learn from or to stop by, or an input or target
            that would be used is not a number or no target of the loss.
    """
    _check_sequences(model, sequences)
    _check_folds(folds, sequences)
    _check_validation(training, folds)
    used = _rows_of(folds.train, folds.valid)
    _refuse_unknown_inputs("sequences.x", sequences.x, sequences.lengths, used)
    _refuse_odd_targets(sequences, used)
    models = len(folds) * training.seeds
    if params0 is not None:
        _check_params(params0, model, models, sequences.x.shape[2], sequences.y.shape[2])
    if order is not None:
        shape = (training.epochs, models, None)
        _check_rows("order", order, shape, "epochs, M, n", len(sequences))


def check_predictable(center: Array, x: Array, rows: Array, lengths: Array | None) -> None:
    """Refuse what models that were fitted with this `center` (M, I) cannot predict.

    Raises:
        ArrayError: windows, rows or lengths are of another shape or type, out of range, or not
            finite.
    """
    models, inputs = center.shape
    _check_numbers("x", x, (None, None, inputs), "N, T, I")
    _check_rows("rows", rows, (models, None), "M, s", len(x))
    _check_lengths("lengths", lengths, x)
    _refuse_unknown_inputs("x", x, lengths, _rows_of(rows))


def _check_numbers(name: str, value: Any, shape: tuple[int | None, ...], axes: str) -> None:
    """Refuse all but real numbers of a shape, in which None stands for any size of 1 or more."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        raise ArrayError(f"{name} is {_kind(value)}; an array of numbers ({axes}) is expected")
    _check_shape(name, value, shape, axes, least=1)


def _check_shape(
    name: str, value: Array, shape: tuple[int | None, ...], axes: str, least: int = 0
) -> None:
    sizes = zip(shape, value.shape, strict=False)
    fits = value.ndim == len(shape) and all(
        given >= least if size is None else given == size for size, given in sizes
    )
    if not fits:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ArrayError(f"{name} has shape {value.shape}; ({axes}) = ({expected}) is expected")


def _check_lengths(name: str, lengths: Any, x: Array) -> None:
    if lengths is None:
        return
    rows, steps, _ = x.shape
    if not isinstance(lengths, np.ndarray) or lengths.dtype.kind not in "iu":
        raise ArrayError(f"{name} is {_kind(lengths)}; whole numbers (N,) are expected")
    _check_shape(name, lengths, (rows,), "N,")
    outside = np.flatnonzero((lengths < 1) | (lengths > steps))
    if len(outside):
        raise ArrayError(
            f"{name} is {lengths[outside[0]]} in row {outside[0]}; 1 to T = {steps} is expected"
        )


def _check_sequences(model: Model, sequences: Sequences) -> None:
    _check_numbers("sequences.x", sequences.x, (None, None, None), "N, T, I")
    _check_lengths("sequences.lengths", sequences.lengths, sequences.x)
    _check_targets(model, sequences)


def _check_folds(folds: Folds, sequences: Sequences) -> None:
    for name in ("train", "valid", "test"):
        shape = (len(folds), None)
        _check_rows(f"folds.{name}", getattr(folds, name), shape, "K, n", len(sequences))
    for fold in range(len(folds)):
        _check_fold(fold, folds.train[fold], folds.valid[fold], sequences)


def _check_validation(training: Training, folds: Folds) -> None:
    """Refuse folds without validation rows if their loss is to decide anything."""
    options = {
        f"patience={training.patience}": training.patience is not None,
        "schedule=plateau": training.schedule == "plateau",
    }
    unseen = np.flatnonzero(~(folds.valid >= 0).any(axis=1))
    for option, needs_losses in options.items():
        if needs_losses and len(unseen):
            raise ArrayError(
                f"folds.valid has no row for fold {unseen[0]}; training.{option} goes by its loss"
            )


def _check_targets(model: Model, sequences: Sequences) -> None:
    rows, steps, _ = sequences.x.shape
    scored_steps = steps if model.readout == "steps" else 1
    _check_numbers("sequences.y", sequences.y, (rows, scored_steps, None), "N, S, O")
    mask = sequences.mask
    if not isinstance(mask, np.ndarray) or mask.dtype != bool:
        raise ArrayError(f"sequences.mask is {_kind(mask)}; truth values (N, S) are expected")
    _check_shape("sequences.mask", mask, (rows, scored_steps), "N, S")
    if sequences.lengths is None or scored_steps == 1:
        return
    padding = np.arange(steps) >= sequences.lengths[:, None]
    past_the_end = np.flatnonzero((mask & padding).any(axis=1))
    if len(past_the_end):
        row = past_the_end[0]
        raise ArrayError(
            f"sequences.mask scores row {row} past its length of {sequences.lengths[row]} steps"
        )


def _check_rows(name: str, rows: Any, shape: tuple[int | None, ...], axes: str, count: int) -> None:
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu":
        raise ArrayError(f"{name} is {_kind(rows)}; row numbers ({axes}) are expected")
    _check_shape(name, rows, shape, axes)
    outside = rows[(rows < -1) | (rows >= count)]
    if len(outside):
        raise ArrayError(
            f"{name} has row {outside[0]}; 0 to {count - 1}, and -1 for padding, are expected"
        )


def _check_fold(fold: int, train: Array, valid: Array, sequences: Sequences) -> None:
    """Refuse a fold that learns nothing, or is validated on what it learns or on nothing."""
    for name, rows in (("train", train), ("valid", valid)):
        rows = rows[rows >= 0]
        if not len(rows) and name == "train":
            raise ArrayError(f"folds.train has no row for fold {fold}; at least 1 is expected")
        if len(rows) and not sequences.mask[rows].any():
            raise ArrayError(
                f"sequences.mask scores no step of folds.{name} of fold {fold}; at least 1 is "
                "expected"
            )
    both = np.intersect1d(train[train >= 0], valid[valid >= 0])
    if len(both):
        raise ArrayError(
            f"folds.train and folds.valid of fold {fold} share {len(both)} rows, the first is "
            f"{both[0]}; no row may be in both"
        )


def _rows_of(*numbers: Array) -> Array:
    """Return each row that is among the numbers, once."""
    rows = np.unique(np.concatenate([part.ravel() for part in numbers]))
    return rows[rows >= 0]


def _refuse_unknown_inputs(name: str, x: Array, lengths: Array | None, rows: Array) -> None:
    """Refuse NaN and infinity in the valid steps of the rows; padding may hold anything."""
    finite: Array = np.all(np.isfinite(x[rows]), axis=2)  # (n, T)
    if lengths is not None:
        finite |= np.arange(x.shape[1]) >= lengths[rows, None]
    bad = np.flatnonzero(~finite.all(axis=1))
    if len(bad):
        raise ArrayError(
            f"{name} has NaN or infinite values in {len(bad)} rows that are used, the first is "
            f"{rows[bad[0]]}"
        )


def _refuse_odd_targets(sequences: Sequences, rows: Array) -> None:
    """Refuse scored targets that are not finite, or that the loss cannot compare with."""
    y = np.where(sequences.mask[rows, :, None], sequences.y[rows], 0.0)
    scored = sequences.mask[rows]
    what = "NaN or infinite targets"
    odd = scored & ~np.isfinite(y).all(axis=2)
    is_of_classes = class_count(sequences.loss, y.shape[2]) > 0
    if not odd.any() and is_of_classes:
        what = "targets outside 0 to 1"
        odd = scored & ((y < 0) | (y > 1)).any(axis=2)
    if not odd.any() and sequences.loss == "cross_entropy":
        what = "targets that do not add up to 1 over the classes"
        odd = scored & (np.abs(y.sum(axis=2) - 1) > CLOSE_TO_ONE)
    bad = np.flatnonzero(odd.any(axis=1))
    if len(bad):
        raise ArrayError(
            f"sequences.y has {what} in {len(bad)} scored rows, the first is {rows[bad[0]]}; "
            f"loss={sequences.loss} cannot take them"
        )


def _check_params(
    params: Params, model: Model, models: int, input_size: int, output_size: int
) -> None:
    expected = param_shapes(model, input_size, output_size)
    for name in sorted(expected.keys() ^ params.keys()):
        what = "is missing" if name in expected else "is not one of this model"
        raise ArrayError(f"params0: {name} {what}; {', '.join(expected)} are expected")
    for name, shape in expected.items():
        axes = ", ".join(["M", *map(str, shape)])
        check_array(f"params0: {name}", params[name], (models, *shape), axes=axes)


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    return f"a {type(value).__name__}"

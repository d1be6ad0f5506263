"""How a stack's inputs are standardised: by the training rows of each model."""

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.nn.engines import Inputs
from rnn_core.nn.sequences import Sequences


def standardised(x: Array, train: Array, dtype: str, lengths: Array | None = None) -> Inputs:
    """Return the windows with each model's mean and standard deviation over its training rows.

    A feature that does not vary is centred and not scaled.

    Args:
        x: (N, T, I) windows.
        train: (M, n) each model's training rows, padded with −1.
        dtype: precision of what is returned, "float32" or "float64".
        lengths: (N,) valid steps of each window; only these count. None means all T.
    """
    valid = _valid_steps(x, lengths)
    moments = [_moments(x, valid, rows[rows >= 0]) for rows in train]
    center, scale = np.stack(moments, axis=1).astype(dtype)  # each (M, I)
    return Inputs(x.astype(dtype), center, scale, lengths)


def inputs_of(sequences: Sequences, train: Array, dtype: str) -> Inputs:
    """Return the inputs of `sequences`, standardised by the training rows (M, n) unless raw."""
    if not sequences.raw:
        return standardised(sequences.x, train, dtype, sequences.lengths)
    zero = np.zeros((len(train), sequences.x.shape[-1]), dtype)
    return Inputs(sequences.x.astype(dtype), zero, zero + 1, sequences.lengths)


def _valid_steps(x: Array, lengths: Array | None) -> Array:
    """Return (N, T) True up to each window's length."""
    rows, steps, _ = x.shape
    if lengths is None:
        return np.ones((rows, steps), dtype=bool)
    return np.arange(steps) < lengths[:, None]


def _moments(x: Array, valid: Array, rows: Array) -> tuple[Array, Array]:
    """Return mean (I,) and standard deviation (I,) over the valid steps of `rows`."""
    steps = x[rows][valid[rows]]  # (steps, I)
    spread = steps.std(axis=0)
    return steps.mean(axis=0), np.where(spread > 0, spread, 1)

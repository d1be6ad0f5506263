"""How a stack's inputs are standardised: by the training rows of each model."""

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.nn.engines import Inputs
from rnn_core.nn.sequences import Sequences


def standardised(x: Array, train: Array, dtype: str, lengths: Array | None = None) -> Inputs:
    """The windows x (N, T, I) with each model's mean and standard deviation over its training rows `train` (M, n).

    Only the valid steps count, `lengths` (N,). A feature that does not vary is centred and not scaled.
    """
    valid = np.arange(x.shape[1]) < (np.full(len(x), x.shape[1]) if lengths is None else lengths)[:, None]  # (N, T)
    moments = []
    for rows in train:
        chosen = rows[rows >= 0]
        seen = x[chosen][valid[chosen]]  # (steps, I)
        spread = seen.std(axis=0)
        moments.append((seen.mean(axis=0), np.where(spread > 0, spread, 1)))
    center, scale = np.stack(moments, axis=1).astype(dtype)
    return Inputs(x.astype(dtype), center, scale, lengths)


def _inputs(sequences: Sequences, train: Array, dtype: str) -> Inputs:
    if not sequences.raw:
        return standardised(sequences.x, train, dtype, sequences.lengths)
    nothing = np.zeros((len(train), sequences.x.shape[-1]), dtype)
    return Inputs(sequences.x.astype(dtype), nothing, nothing + 1, sequences.lengths)

"""Predictions of a stack, and of the ensemble of its seeds."""

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.nn.engines import Inputs, numpy_engine
from rnn_core.nn.losses import sigmoid
from rnn_core.nn.sequences import Folds, Sequences
from rnn_core.nn.training import Fit


def predict(fit: Fit, x: Array, rows: Array, lengths: Array | None = None) -> Array:
    """Logits (M, s, S, O) of `rows` (M, s) of the windows x (N, T, I); NaN at padding (−1) and for frozen models.

    Always computed by the NumPy engine, whichever engine trained: what is evaluated is, bit for bit, what is served.
    """
    inputs = Inputs(x.astype(fit.training.dtype), fit.center, fit.scale, lengths)
    logits = numpy_engine.predict(fit.model, fit.params, inputs, rows)
    usable = (rows >= 0) & (fit.frozen < 0)[:, None]
    return np.where(usable[..., None, None], logits, np.nan)


def out_of_sample(fit: Fit, sequences: Sequences, folds: Folds) -> Array:
    """Logits (M, s, S, O) of every fold's test rows by the models of that fold, as `predict` gives them."""
    return predict(fit, sequences.x, folds.test.repeat(fit.training.seeds, axis=0), sequences.lengths)


def call(live: Fit, x: Array) -> tuple[float, float]:
    """Probability that the session after the one window x (1, T, I) closes up, and its spread over the seeds."""
    logits = predict(live, x, np.zeros((len(live), 1), dtype=int))
    probability, spread = ensemble(logits[:, :, 0, 0].T, live.base_rate[:1], live.training.shrinkage)
    return float(probability[0]), float(spread[0])


def ensemble(logits: Array, base_rate: Array, shrinkage: float) -> tuple[Array, Array]:
    """The probability (n,) that is served, and its spread (n,) over the seeds, from logits (n, seeds).

    It is the mean over the seeds, drawn by `shrinkage` towards the training base rate (n,): a mean of few networks is
    over-confident. The spread is their standard deviation. Frozen models (NaN) are left out.
    """
    each = sigmoid(np.ascontiguousarray(logits))
    mean = np.nanmean(each, axis=1)
    return mean + shrinkage * (base_rate - mean), np.nanstd(each, axis=1)

"""Predictions of a stack, and of the ensemble of its seeds."""

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.nn.checks import check_predictable
from rnn_core.nn.engines import Inputs, numpy_engine
from rnn_core.nn.losses import sigmoid
from rnn_core.nn.sequences import Folds, Sequences
from rnn_core.nn.training import Fit


def predict(fit: Fit, x: Array, rows: Array, lengths: Array | None = None) -> Array:
    """Return the logits (M, s, S, O) of each model's rows; NaN at padding and for frozen models.

    The NumPy engine computes them, whichever engine trained: what is evaluated is, bit for bit,
    what is served.

    Args:
        fit: M trained models.
        x: (N, T, I) windows.
        rows: (M, s) numbers of the windows each model predicts, padded with −1.
        lengths: (N,) valid steps of each window; None means all T.

    Raises:
        ArrayError: an array is of another shape or type, out of range, or not finite.
    """
    check_predictable(fit.center, x, rows, lengths)
    inputs = Inputs(x.astype(fit.training.dtype), fit.center, fit.scale, lengths)
    logits = numpy_engine.predict(fit.model, fit.params, inputs, rows)
    usable = (rows >= 0) & (fit.frozen < 0)[:, None]
    return np.where(usable[..., None, None], logits, np.nan)


def out_of_sample(fit: Fit, sequences: Sequences, folds: Folds) -> Array:
    """Return the logits (M, s, S, O) of each fold's test rows by the models of that fold."""
    rows = folds.test.repeat(fit.training.seeds, axis=0)
    return predict(fit, sequences.x, rows, sequences.lengths)


def call(live: Fit, x: Array) -> tuple[float, float]:
    """Return the probability that the session after a window closes up, and its spread.

    Args:
        live: the models of one fold, an ensemble.
        x: (1, T, I) the window.
    """
    first_row = np.zeros((len(live), 1), dtype=int)
    logits = predict(live, x, first_row)[:, :, 0, 0]  # (seeds, 1)
    probability, spread = ensemble(logits.T, live.base_rate[:1], live.training.shrinkage)
    return float(probability[0]), float(spread[0])


def ensemble(logits: Array, base_rate: Array, shrinkage: float) -> tuple[Array, Array]:
    """Return the ensemble's probability (n,) and its spread (n,), a standard deviation over seeds.

    The probability is the mean over the seeds, shrunk towards the base rate: a mean of few networks
    is over-confident.

    Args:
        logits: (n, seeds), NaN for frozen models, which are left out.
        base_rate: (n,) mean label of the training rows.
        shrinkage: from 0, the mean as it is, to 1, the base rate.

    >>> logits = np.array([[0.0, 2.0, np.nan]])  # the third network is frozen
    >>> probability, spread = ensemble(logits, base_rate=np.array([0.5]), shrinkage=0.5)
    >>> probability.round(3), spread.round(3)
    (array([0.595]), array([0.19]))
    """
    probabilities = sigmoid(np.ascontiguousarray(logits))
    mean = np.nanmean(probabilities, axis=1)
    spread = np.nanstd(probabilities, axis=1)
    return shrunk(mean, base_rate, shrinkage), spread


def shrunk(probability: Array, base_rate: Array, shrinkage: float) -> Array:
    """Return probabilities (n,) moved towards the base rates (n,), from 0, not at all, to 1.

    >>> shrunk(np.array([0.6]), np.array([0.5]), shrinkage=0.5)
    array([0.55])
    """
    return np.asarray(probability + shrinkage * (base_rate - probability))

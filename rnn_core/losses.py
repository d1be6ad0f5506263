"""Losses of a stack, from logits, with the gradient with respect to them.

Each takes logits (M, N, T, O), targets of its own shape and a mask (M, N, T) of the steps that are scored, and
returns the mean over the scored steps of each model (M,) and its gradient (M, N, T, O). A step that is not scored
may hold anything, NaN included: it counts nothing and gets no gradient. A model with no scored step has loss 0.
"""

import numpy as np

from rnn_core.arrays import Array


def binary_cross_entropy(logits: Array, y: Array, mask: Array) -> tuple[Array, Array]:
    """−y·log σ(z) − (1 − y)·log(1 − σ(z)) in nats, averaged over the outputs; y (M, N, T, O) in [0, 1]."""
    y = np.where(mask[..., None], y, 0)
    loss = np.maximum(logits, 0) - logits * y + np.log1p(np.exp(-np.abs(logits)))
    return _masked_mean(loss, sigmoid(logits) - y, mask)


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^−z), of the same shape and type, without overflow."""
    decay = np.exp(-np.abs(z))
    value: Array = np.where(z >= 0, 1, decay) / (1 + decay)
    return value


def _masked_mean(loss: Array, dlogits: Array, mask: Array) -> tuple[Array, Array]:
    models, outputs = len(loss), loss.shape[-1]
    scored = np.maximum(mask.reshape(models, -1).sum(axis=1) * outputs, 1).astype(loss.dtype)
    loss = np.where(mask[..., None], loss, 0).reshape(models, -1).sum(axis=1) / scored
    return loss, np.where(mask[..., None], dlogits, 0) / scored[:, None, None, None]

"""Losses of a stack, from logits, with the gradient with respect to them.

Each takes logits (M, N, T, O), targets of the same shape and a mask (M, N, T) of the steps that are scored, and returns
the mean over the scored steps of each model (M,) and its gradient (M, N, T, O). A step that is not scored may hold
anything, NaN included: it counts nothing and gets no gradient. A model with no scored step has loss 0.

With `class_weights` the mean is weighted: an example counts as its class does, in the sum and in what it is divided by,
as in torch.nn.CrossEntropyLoss.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from rnn_core.arrays import Array
from rnn_core.errors import ArrayError

LossName = Literal["binary_cross_entropy", "cross_entropy", "mean_squared_error"]
Loss: TypeAlias = Callable[[Array, Array, Array, Array | None], tuple[Array, Array]]


def binary_cross_entropy(
    logits: Array, y: Array, mask: Array, class_weights: Array | None = None
) -> tuple[Array, Array]:
    """−y·log σ(z) − (1 − y)·log(1 − σ(z)) in nats, of each output; y in [0, 1], `class_weights` of 0 and of 1."""
    z, y, scored = _scored(logits, y, mask)
    down, up = _weights(class_weights, 2, logits)
    weight = down * (1 - y) + up * y
    loss = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
    return _weighted_mean(weight * loss, weight * (sigmoid(z) - y), weight, scored)


def cross_entropy(logits: Array, y: Array, mask: Array, class_weights: Array | None = None) -> tuple[Array, Array]:
    """−Σ_c y_c·log softmax(z)_c in nats; y one-hot or a distribution over the O classes, `class_weights` (O,)."""
    z, y, scored = _scored(logits, y, mask)
    weighted = y * _weights(class_weights, logits.shape[-1], logits)
    z = z - z.max(axis=-1, keepdims=True)
    log_softmax = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    weight = weighted.sum(axis=-1, keepdims=True)
    loss = -(weighted * log_softmax).sum(axis=-1, keepdims=True)
    return _weighted_mean(loss, np.exp(log_softmax) * weight - weighted, weight, scored)


def mean_squared_error(logits: Array, y: Array, mask: Array, class_weights: Array | None = None) -> tuple[Array, Array]:
    """(z − y)², of each output."""
    if class_weights is not None:
        raise ArrayError(f"class_weights of shape {np.shape(class_weights)} are given; a squared error has no classes")
    z, y, scored = _scored(logits, y, mask)
    return _weighted_mean((z - y) ** 2, 2 * (z - y), np.ones_like(z), scored)


LOSSES: dict[LossName, Loss] = {
    "binary_cross_entropy": binary_cross_entropy,
    "cross_entropy": cross_entropy,
    "mean_squared_error": mean_squared_error,
}


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^−z), of the same shape and type, without overflow."""
    decay = np.exp(-np.abs(z))
    value: Array = np.where(z >= 0, 1, decay) / (1 + decay)
    return value


def _scored(logits: Array, y: Array, mask: Array) -> tuple[Array, Array, Array]:
    """Logits, targets (both 0 where not scored) and the mask as (M, N, T, 1)."""
    if y.shape != logits.shape or mask.shape != logits.shape[:-1]:
        raise ArrayError(f"targets {y.shape} and mask {mask.shape} do not fit logits {logits.shape} (M, N, T, O)")
    scored = mask[..., None]
    return np.where(scored, logits, 0), np.where(scored, y, 0), scored


def _weights(class_weights: Array | None, classes: int, logits: Array) -> Array:
    if class_weights is None:
        return np.ones(classes, logits.dtype)
    if np.shape(class_weights) != (classes,):
        raise ArrayError(f"class_weights have shape {np.shape(class_weights)}; ({classes},) is expected")
    return np.asarray(class_weights, logits.dtype)


def _weighted_mean(loss: Array, dlogits: Array, weight: Array, scored: Array) -> tuple[Array, Array]:
    """Σ loss / Σ weight of each model over what is scored, and the gradient of that."""
    models = len(loss)
    total = np.where(scored, loss, 0).reshape(models, -1).sum(axis=1)
    count = np.where(scored, weight, 0).reshape(models, -1).sum(axis=1)
    count = np.where(count > 0, count, 1)
    return total / count, np.where(scored, dlogits, 0) / count[:, None, None, None]

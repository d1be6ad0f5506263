"""Losses of a stack, from logits, with the gradient with respect to them.

Each takes logits (M, N, T, O), targets of the same shape and a mask (M, N, T) of the steps that are scored, and returns
the mean over the scored steps of each model (M,) and its gradient (M, N, T, O). A step that is not scored may hold
anything, NaN included: it counts nothing and gets no gradient. A model with no scored step has loss 0.

With `class_weights` the mean is weighted: an example counts as its class does, in the sum and in what it is divided by,
as in torch.nn.CrossEntropyLoss.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from rnn_core.arrays import Array
from rnn_core.errors import ArrayError

LossName = Literal["binary_cross_entropy", "textbook_cross_entropy", "brier", "cross_entropy", "mean_squared_error"]
Loss: TypeAlias = Callable[[Array, Array, Array, Array | None], tuple[Array, Array]]
TEXTBOOK_EPSILON = 1e-8


def binary_cross_entropy(
    logits: Array, y: Array, mask: Array, class_weights: Array | None = None
) -> tuple[Array, Array]:
    """−y·log σ(z) − (1 − y)·log(1 − σ(z)) in nats, of each output; y in [0, 1], `class_weights` of 0 and of 1."""
    check_fit("binary_cross_entropy", logits, y, mask, class_weights)
    z, y, scored = _scored(logits, y, mask)
    down, up = _weights(class_weights, 2, logits)
    weight, rest = down * (1 - y) + up * y, np.log1p(np.exp(-np.abs(z)))
    loss = up * y * (np.maximum(-z, 0) + rest) + down * (1 - y) * (np.maximum(z, 0) + rest)
    return _weighted_mean(loss, weight * sigmoid(z) - up * y, weight, scored)


def textbook_cross_entropy(
    logits: Array, y: Array, mask: Array, class_weights: Array | None = None
) -> tuple[Array, Array]:
    """−y·log(p + ε) − (1 − y)·log(1 − p + ε), p = σ(z), in nats, with the gradient p − y of the loss without ε.

    So it stands in texts that would not have log 0; it differs from `binary_cross_entropy` by about ε / p.
    """
    check_fit("textbook_cross_entropy", logits, y, mask, class_weights)
    z, y, scored = _scored(logits, y, mask)
    down, up = _weights(class_weights, 2, logits)
    p, weight = sigmoid(z), down * (1 - y) + up * y
    loss = -up * y * np.log(p + TEXTBOOK_EPSILON) - down * (1 - y) * np.log(1 - p + TEXTBOOK_EPSILON)
    return _weighted_mean(loss, weight * p - up * y, weight, scored)


def brier(logits: Array, y: Array, mask: Array, class_weights: Array | None = None) -> tuple[Array, Array]:
    """(σ(z) − y)² (Brier 1950): the squared error of a sigmoid output; `class_weights` of 0 and of 1."""
    check_fit("brier", logits, y, mask, class_weights)
    z, y, scored = _scored(logits, y, mask)
    down, up = _weights(class_weights, 2, logits)
    p, weight = sigmoid(z), down * (1 - y) + up * y
    return _weighted_mean(weight * (p - y) ** 2, 2 * weight * (p - y) * p * (1 - p), weight, scored)


def cross_entropy(logits: Array, y: Array, mask: Array, class_weights: Array | None = None) -> tuple[Array, Array]:
    """−Σ_c y_c·log softmax(z)_c in nats; y one-hot or a distribution over the O classes, `class_weights` (O,)."""
    check_fit("cross_entropy", logits, y, mask, class_weights)
    z, y, scored = _scored(logits, y, mask)
    weighted = y * _weights(class_weights, logits.shape[-1], logits)
    z = z - z.max(axis=-1, keepdims=True)
    log_softmax = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    weight = weighted.sum(axis=-1, keepdims=True)
    loss = -(weighted * log_softmax).sum(axis=-1, keepdims=True)
    return _weighted_mean(loss, np.exp(log_softmax) * weight - weighted, weight, scored)


def mean_squared_error(logits: Array, y: Array, mask: Array, class_weights: Array | None = None) -> tuple[Array, Array]:
    """(z − y)², of each output, which has no classes."""
    check_fit("mean_squared_error", logits, y, mask, class_weights)
    z, y, scored = _scored(logits, y, mask)
    return _weighted_mean((z - y) ** 2, 2 * (z - y), np.ones_like(z), scored)


LOSSES: dict[LossName, Loss] = {
    "binary_cross_entropy": binary_cross_entropy,
    "textbook_cross_entropy": textbook_cross_entropy,
    "brier": brier,
    "cross_entropy": cross_entropy,
    "mean_squared_error": mean_squared_error,
}


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^−z), of the same shape and type, without overflow."""
    decay = np.exp(-np.abs(z))
    value: Array = np.where(z >= 0, 1, decay) / (1 + decay)
    return value


def check_fit(loss: LossName, logits: Any, y: Any, mask: Any, class_weights: Any) -> None:
    """Refuse what does not fit logits (M, N, T, O), be they arrays or tensors.

    Raises:
        ArrayError: targets, mask or class weights of another shape than `loss` takes.
    """
    if y.shape != logits.shape or mask.shape != logits.shape[:-1]:
        raise ArrayError(
            f"targets {y.shape} and mask {mask.shape} do not fit logits {tuple(logits.shape)} (M, N, T, O)"
        )
    classes = {"cross_entropy": logits.shape[-1], "mean_squared_error": 0}.get(loss, 2)
    if class_weights is not None and class_weights.shape != (classes,):
        raise ArrayError(f"class_weights have shape {class_weights.shape}; {loss} has {classes} classes")


def _scored(logits: Array, y: Array, mask: Array) -> tuple[Array, Array, Array]:
    """Logits, targets (both 0 where not scored) and the mask as (M, N, T, 1)."""
    scored = mask[..., None]
    return np.where(scored, logits, 0), np.where(scored, y, 0), scored


def _weights(class_weights: Array | None, classes: int, logits: Array) -> Array:
    return np.ones(classes, logits.dtype) if class_weights is None else class_weights.astype(logits.dtype)


def _weighted_mean(loss: Array, dlogits: Array, weight: Array, scored: Array) -> tuple[Array, Array]:
    """Σ loss / Σ weight of each model over what is scored, and the gradient of that."""
    models = len(loss)
    total = np.where(scored, loss, 0).reshape(models, -1).sum(axis=1)
    count = np.where(scored, weight, 0).reshape(models, -1).sum(axis=1)
    count = np.where(count > 0, count, 1)
    return total / count, np.where(scored, dlogits, 0) / count[:, None, None, None]

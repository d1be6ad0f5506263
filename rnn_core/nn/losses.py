"""Losses of a stack, from logits, with the gradient with respect to them.

Each takes logits (M, N, T, O), targets of the same shape and a mask (M, N, T) of the steps that are scored, and returns
the mean over the scored steps of each model (M,) and its gradient (M, N, T, O). A step that is not scored may hold
anything, NaN included: it counts nothing and gets no gradient. A model with no scored step has loss 0. More axes may
stand before M.

With `class_weights` the mean is weighted: an example counts as its class does, in the sum and in what it is divided by,
as in torch.nn.CrossEntropyLoss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from rnn_core.errors import ArrayError
from rnn_core.nn.arrays import Array

LossName = Literal["binary_cross_entropy", "textbook_cross_entropy", "brier", "cross_entropy", "mean_squared_error"]
TEXTBOOK_EPSILON = 1e-8


SATURATING = np.errstate(over="ignore")  # where e^−z overflows, 1 / (1 + e^−z) is 0


@SATURATING
def sigmoid(z: Array) -> Array:
    """1 / (1 + e^−z), of the same shape and type."""
    probability: Array = 1 / (1 + np.exp(-z))
    return probability


class Aim(NamedTuple):
    """Targets made ready, so that many logits can be held against them.

    Attributes:
        y: (M, N, T, O), 0 where not scored.
        weight: (M, N, T, O or 1) the share of an element in its model's mean, 0 where not scored.
        hits: (M, N, T, O) the share that speaks for the output: `weight` times the target.
        unscored: (M, N, T, 1) where nothing is scored; None if there is no such step.
    """

    y: Array
    weight: Array
    hits: Array
    unscored: Array | None


@dataclass(frozen=True)
class Loss:
    """A loss and its gradient.

    Attributes:
        weigh: (y, class_weights (C,)) to the weights of the elements (M, N, T, O or 1) and weights times targets.
        value: (logits, aim) to what each element adds to the mean.
        derivative: (logits, weight, hits) to the gradient of the mean.
    """

    name: LossName
    weigh: Callable[[Array, Array], tuple[Array, Array]]
    value: Callable[[Array, Aim], Array]
    derivative: Callable[[Array, Array, Array], Array]

    @SATURATING
    def __call__(self, logits: Array, y: Array, mask: Array, class_weights: Array | None = None) -> tuple[Array, Array]:
        """Mean loss of each model (M,) and its gradient (M, N, T, O)."""
        aim = self.aim(logits, y, mask, class_weights)
        return self.mean(logits, aim), self.gradient(logits, *aim[1:])

    def aim(self, logits: Array, y: Array, mask: Array, class_weights: Array | None = None) -> Aim:
        """What logits of that shape are held against.

        Raises:
            ArrayError: targets, mask or class weights of another shape than the loss takes.
        """
        check_fit(self.name, logits, y, mask, class_weights)
        scored = mask[..., None]
        y = np.where(scored, y, 0)
        weights = np.ones(class_count(self.name, y.shape[-1])) if class_weights is None else class_weights
        weight, hits = self.weigh(y, weights.astype(y.dtype))
        total = np.where(scored, weight, 0).reshape(*y.shape[:-3], -1).sum(axis=-1)
        share = scored / np.where(total > 0, total, 1)[..., None, None, None]
        return Aim(y, weight * share, hits * share, None if mask.all() else ~scored)

    def mean(self, logits: Array, aim: Aim) -> Array:
        """The mean loss (M,) of logits (M, N, T, O)."""
        each = self.value(_scored(logits, aim.unscored), aim).reshape(*logits.shape[:-3], -1)
        mean: Array = each.sum(axis=-1)
        return mean

    def gradient(self, logits: Array, weight: Array, hits: Array, unscored: Array | None) -> Array:
        """The gradient of the mean with respect to logits (M, N, T, O), from these parts of an aim.

        What overflows on the way is for the caller to silence: in small batches that takes as long as the arithmetic.
        """
        return self.derivative(_scored(logits, unscored), weight, hits)


def _scored(logits: Array, unscored: Array | None) -> Array:
    return logits if unscored is None else np.where(unscored, 0, logits)


def _binary_weights(y: Array, class_weights: Array) -> tuple[Array, Array]:
    down, up = class_weights
    return down * (1 - y) + up * y, up * y


def _brier_weights(y: Array, class_weights: Array) -> tuple[Array, Array]:
    weight, _ = _binary_weights(y, class_weights)
    return weight, weight * y


def _softmax_weights(y: Array, class_weights: Array) -> tuple[Array, Array]:
    hits = y * class_weights
    return hits.sum(axis=-1, keepdims=True), hits


def _binary_value(z: Array, aim: Aim) -> Array:
    rest, misses = np.log1p(np.exp(-np.abs(z))), aim.weight - aim.hits
    value: Array = aim.hits * (np.maximum(-z, 0) + rest) + misses * (np.maximum(z, 0) + rest)
    return value


def _binary_derivative(z: Array, weight: Array, hits: Array) -> Array:
    derivative: Array = weight / (1 + np.exp(-z)) - hits  # weight · σ(z) − hits
    return derivative


def _textbook_value(z: Array, aim: Aim) -> Array:
    p, misses = sigmoid(z), aim.weight - aim.hits
    value: Array = -aim.hits * np.log(p + TEXTBOOK_EPSILON) - misses * np.log(1 - p + TEXTBOOK_EPSILON)
    return value


def _brier_derivative(z: Array, weight: Array, hits: Array) -> Array:
    p = sigmoid(z)
    derivative: Array = 2 * (weight * p - hits) * p * (1 - p)
    return derivative


def _log_softmax(z: Array) -> Array:
    z = z - z.max(axis=-1, keepdims=True)
    value: Array = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return value


binary_cross_entropy = Loss("binary_cross_entropy", _binary_weights, _binary_value, _binary_derivative)
"""−y·log σ(z) − (1 − y)·log(1 − σ(z)) in nats, of each output; y in [0, 1], `class_weights` of 0 and of 1."""

textbook_cross_entropy = Loss("textbook_cross_entropy", _binary_weights, _textbook_value, _binary_derivative)
"""−y·log(p + ε) − (1 − y)·log(1 − p + ε), p = σ(z), in nats, with the gradient p − y of the loss without ε.

So it stands in texts that would not have log 0; it differs from `binary_cross_entropy` by about ε / p.
"""

brier = Loss("brier", _brier_weights, lambda z, aim: aim.weight * (sigmoid(z) - aim.y) ** 2, _brier_derivative)
"""(σ(z) − y)² (Brier 1950): the squared error of a sigmoid output; `class_weights` of 0 and of 1."""

cross_entropy = Loss(
    "cross_entropy",
    _softmax_weights,
    lambda z, aim: -aim.hits * _log_softmax(z),
    lambda z, weight, hits: weight * np.exp(_log_softmax(z)) - hits,
)
"""−Σ_c y_c·log softmax(z)_c in nats; y one-hot or a distribution over the O classes, `class_weights` (O,)."""

mean_squared_error = Loss(
    "mean_squared_error",
    lambda y, _: (np.ones_like(y), y),
    lambda z, aim: aim.weight * (z - aim.y) ** 2,
    lambda z, weight, hits: 2 * (weight * z - hits),
)
"""(z − y)², of each output, which has no classes."""

EVERY = (binary_cross_entropy, textbook_cross_entropy, brier, cross_entropy, mean_squared_error)
LOSSES: dict[LossName, Loss] = {loss.name: loss for loss in EVERY}


def check_fit(loss: LossName, logits: Any, y: Any, mask: Any, class_weights: Any) -> None:
    """Refuse what does not fit logits (M, N, T, O), be they arrays or tensors.

    Raises:
        ArrayError: targets, mask or class weights of another shape than `loss` takes.
    """
    if y.shape != logits.shape or mask.shape != logits.shape[:-1]:
        raise ArrayError(
            f"targets {y.shape} and mask {mask.shape} do not fit logits {tuple(logits.shape)} (M, N, T, O)"
        )
    classes = class_count(loss, int(logits.shape[-1]))
    if class_weights is not None and class_weights.shape != (classes,):
        raise ArrayError(f"class_weights have shape {class_weights.shape}; {loss} has {classes} classes")


def class_count(loss: LossName, outputs: int) -> int:
    """Return how many class weights `loss` takes over so many outputs; 0 if it has no classes."""
    counts: dict[LossName, int] = {
        "binary_cross_entropy": 2,
        "textbook_cross_entropy": 2,
        "brier": 2,
        "cross_entropy": outputs,
        "mean_squared_error": 0,
    }
    return counts[loss]

"""Losses of a stack, from logits, with the gradient with respect to them.

Each takes logits (M, N, T, O), targets of the same shape and a mask (M, N, T) of the steps that are
scored. It returns the mean over the scored steps of each model (M,) and its gradient (M, N, T, O).
A step that is not scored may hold anything, NaN included: it counts nothing and gets no gradient. A
model with no scored step has loss 0. More axes may come before M.

With `class_weights` the mean is weighted, as in torch.nn.CrossEntropyLoss: an example counts as its
class does, in the sum and in what divides it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from rnn_core.errors import ArrayError
from rnn_core.nn.arrays import Array

LossName = Literal[
    "binary_cross_entropy",
    "textbook_cross_entropy",
    "brier",
    "cross_entropy",
    "mean_squared_error",
]
TEXTBOOK_EPSILON = 1e-8
SATURATING = np.errstate(over="ignore")  # where e^−z overflows, 1 / (1 + e^−z) is 0


@SATURATING
def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + e^−z), of the same shape and type.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    probability: Array = 1 / (1 + np.exp(-z))
    return probability


class Aim(NamedTuple):
    """Targets prepared to compare any logits with.

    Attributes:
        y: (M, N, T, O) targets, 0 where not scored.
        weight: (M, N, T, O or 1) the share of an element in its model's mean, 0 where not scored.
        hits: (M, N, T, O) `weight` times the target.
        unscored: (M, N, T, 1) True where a step is not scored; None if all are.
    """

    y: Array
    weight: Array
    hits: Array
    unscored: Array | None


@dataclass(frozen=True)
class Loss:
    """A loss and its gradient.

    Attributes:
        name: its name in the configuration.
        weigh: from (y, class_weights (C,)) the weights of the elements (M, N, T, O or 1), and the
            weights times the targets.
        value: from (logits, aim) what each element adds to the mean.
        derivative: from (logits, weight, hits) the gradient of the mean.
    """

    name: LossName
    weigh: Callable[[Array, Array], tuple[Array, Array]]
    value: Callable[[Array, Aim], Array]
    derivative: Callable[[Array, Array, Array], Array]

    @SATURATING
    def __call__(
        self, logits: Array, y: Array, mask: Array, class_weights: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the mean loss of each model (M,) and its gradient (M, N, T, O).

        >>> one_step = np.zeros((1, 1, 1, 1))  # a logit of 0 is a probability of 1/2
        >>> loss, gradient = binary_cross_entropy(one_step, one_step + 1, np.ones((1, 1, 1), bool))
        >>> loss.round(3), gradient.ravel()  # log 2 in nats, and p − y
        (array([0.693]), array([-0.5]))
        """
        aim = self.aim(logits, y, mask, class_weights)
        return self.mean(logits, aim), self.gradient(logits, *aim[1:])

    def aim(self, logits: Array, y: Array, mask: Array, class_weights: Array | None = None) -> Aim:
        """Return the targets prepared for logits of that shape.

        Raises:
            ArrayError: targets, mask or class weights of another shape than the loss takes.
        """
        check_fit(self.name, logits, y, mask, class_weights)
        scored = mask[..., None]
        y = np.where(scored, y, 0)
        if class_weights is None:
            class_weights = np.ones(class_count(self.name, y.shape[-1]))
        weight, hits = self.weigh(y, class_weights.astype(y.dtype))
        total = _sum_of_models(np.where(scored, weight, 0))
        divisor = np.where(total > 0, total, 1)[..., None, None, None]
        share = scored / divisor
        return Aim(y, weight * share, hits * share, None if mask.all() else ~scored)

    def mean(self, logits: Array, aim: Aim) -> Array:
        """Return the mean loss (M,) of logits (M, N, T, O)."""
        return _sum_of_models(self.value(_scored(logits, aim.unscored), aim))

    def gradient(self, logits: Array, weight: Array, hits: Array, unscored: Array | None) -> Array:
        """Return the gradient (M, N, T, O) of the mean, from logits and parts of an aim.

        The caller silences what overflows on the way: in small batches doing so takes as long as
        the arithmetic.
        """
        return self.derivative(_scored(logits, unscored), weight, hits)


def _scored(logits: Array, unscored: Array | None) -> Array:
    return logits if unscored is None else np.where(unscored, 0, logits)


def _sum_of_models(values: Array) -> Array:
    """Return the sum (M,) over a model's elements (M, N, T, O)."""
    total: Array = values.reshape(*values.shape[:-3], -1).sum(axis=-1)
    return total


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
    misses = aim.weight - aim.hits
    rest = np.log1p(np.exp(-np.abs(z)))
    minus_log_p = np.maximum(-z, 0) + rest
    minus_log_q = np.maximum(z, 0) + rest
    value: Array = aim.hits * minus_log_p + misses * minus_log_q
    return value


def _binary_derivative(z: Array, weight: Array, hits: Array) -> Array:
    derivative: Array = weight / (1 + np.exp(-z)) - hits  # weight · σ(z) − hits
    return derivative


def _textbook_value(z: Array, aim: Aim) -> Array:
    p = sigmoid(z)
    misses = aim.weight - aim.hits
    log_p = np.log(p + TEXTBOOK_EPSILON)
    log_q = np.log(1 - p + TEXTBOOK_EPSILON)
    value: Array = -aim.hits * log_p - misses * log_q
    return value


def _brier_derivative(z: Array, weight: Array, hits: Array) -> Array:
    p = sigmoid(z)
    derivative: Array = 2 * (weight * p - hits) * p * (1 - p)
    return derivative


def _log_softmax(z: Array) -> Array:
    z = z - z.max(axis=-1, keepdims=True)
    value: Array = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return value


def _brier_value(z: Array, aim: Aim) -> Array:
    value: Array = aim.weight * (sigmoid(z) - aim.y) ** 2
    return value


def _softmax_value(z: Array, aim: Aim) -> Array:
    value: Array = -aim.hits * _log_softmax(z)
    return value


def _softmax_derivative(z: Array, weight: Array, hits: Array) -> Array:
    derivative: Array = weight * np.exp(_log_softmax(z)) - hits
    return derivative


def _equal_weights(y: Array, class_weights: Array) -> tuple[Array, Array]:
    return np.ones_like(y), y


def _squared_value(z: Array, aim: Aim) -> Array:
    value: Array = aim.weight * (z - aim.y) ** 2
    return value


def _squared_derivative(z: Array, weight: Array, hits: Array) -> Array:
    derivative: Array = 2 * (weight * z - hits)
    return derivative


binary_cross_entropy = Loss(
    "binary_cross_entropy", _binary_weights, _binary_value, _binary_derivative
)
"""−y·log σ(z) − (1 − y)·log(1 − σ(z)) in nats, of each output.

y is in [0, 1]; `class_weights` are those of 0 and of 1.
"""

textbook_cross_entropy = Loss(
    "textbook_cross_entropy", _binary_weights, _textbook_value, _binary_derivative
)
"""−y·log(p + ε) − (1 − y)·log(1 − p + ε), p = σ(z), in nats, with the gradient p − y without ε.

Textbooks avoid log 0 in this way; it differs from `binary_cross_entropy` by about ε / p.
"""

brier = Loss("brier", _brier_weights, _brier_value, _brier_derivative)
"""(σ(z) − y)² (Brier 1950), the squared error of a sigmoid output.

`class_weights` are those of 0 and of 1.
"""

cross_entropy = Loss("cross_entropy", _softmax_weights, _softmax_value, _softmax_derivative)
"""−Σ_c y_c·log softmax(z)_c in nats.

y is one-hot or a distribution over the O classes; `class_weights` is (O,).
"""

mean_squared_error = Loss("mean_squared_error", _equal_weights, _squared_value, _squared_derivative)
"""(z − y)², of each output; it has no classes."""

LOSSES: dict[LossName, Loss] = {
    loss.name: loss
    for loss in (
        binary_cross_entropy,
        textbook_cross_entropy,
        brier,
        cross_entropy,
        mean_squared_error,
    )
}
"""Every loss by its name."""


def check_fit(loss: LossName, logits: Any, y: Any, mask: Any, class_weights: Any) -> None:
    """Refuse what does not fit logits (M, N, T, O), all of them arrays or tensors.

    Raises:
        ArrayError: targets, mask or class weights of another shape than `loss` takes.
    """
    if y.shape != logits.shape or mask.shape != logits.shape[:-1]:
        received = f"targets {tuple(y.shape)} and mask {tuple(mask.shape)}"
        raise ArrayError(f"{received} do not fit logits {tuple(logits.shape)} (M, N, T, O)")
    classes = class_count(loss, int(logits.shape[-1]))
    if class_weights is not None and class_weights.shape != (classes,):
        received = f"class_weights have shape {tuple(class_weights.shape)}"
        raise ArrayError(f"{received}; {loss} has {classes} classes")


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

"""Right and wrong backward passes, and the gradient check that tells them apart."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from rnn_core.config import Model
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import linear, softmax
from rnn_core.nn.losses import LOSSES, LossName, brier
from rnn_core.nn.network import initial_params, network, split

X = np.array(
    [[[1, 2, 3, 4], [3, 4, 5, 6], [4, 5, 6, 7]], [[3, 4, 1, 1], [4, 5, 1, 1], [5, 6, 1, 1]]], float
)
Y = np.array([0, 1])
DIRECTIONS = 8  # of the gradient check
STEP = 1e-6  # along a direction
PASSES = 1e-6  # relative error of gradients below which they pass
STREAM = 7  # of initial weights and directions, with the study's seed

TANH = Model(cell="rnn_tanh", hidden_size=8, num_layers=2)
PRELU = Model(cell="rnn_prelu", hidden_size=8, num_layers=2)
Implementation: TypeAlias = Callable[[Params, Array, Array], tuple[float, Params]]
"""From (params, x (N, T, I), y (N, 1, O)) to the loss and the gradients by the names of params."""


class Toy(NamedTuple):
    """A recurrent network of two layers, and the loss of its third layer, the output."""

    model: Model
    loss: LossName

    @property
    def y(self) -> Array:
        """(N, 1, O) the classes as one number, 0 or 1, or one-hot for a softmax."""
        one_hot = self.loss == "cross_entropy"
        classes = np.eye(2)[Y] if one_hot else Y[:, None].astype(float)
        return np.asarray(classes[:, None])


TOYS = {
    "tanh": Toy(TANH, "brier"),
    "prelu": Toy(PRELU, "brier"),
    "softmax": Toy(TANH, "cross_entropy"),
}


def right(toy: Toy) -> Implementation:
    """Return the network with its backward pass as it should be."""

    def implementation(params: Params, x: Array, y: Array) -> tuple[float, Params]:
        logits, backward = network(params, x[None], toy.model)
        loss, dlogits = LOSSES[toy.loss](logits, y[None], _all_scored(logits), None)
        return float(loss[0]), backward(dlogits)

    return implementation


def constant_tanh(params: Params, x: Array, y: Array) -> tuple[float, Params]:
    """Use a “tanh” of (eᵃ + e⁻ᵃ) / (eᵃ + e⁻ᵃ): the output layer reads ones, whatever the input.

    The backward pass has the true derivative of tanh, as texts write it, so the recurrent weights
    get gradients of a loss that does not depend on them. With the derivative of this value, 1 − 1²
    = 0, nothing before the output layer would ever learn, and the check would pass: it finds
    gradients that are not the loss's, not losses that are useless.
    """
    _, backward = network(params, x[None], TANH)
    head = split(params)["head"]
    logits, head_backward = linear(head, np.ones((1, len(x), 1, TANH.hidden_size)))
    loss, dlogits = brier(logits, y[None], _all_scored(logits))
    head_grads, _ = head_backward(dlogits)
    grads = backward(dlogits) | {f"head.{name}": grad for name, grad in head_grads.items()}
    return float(loss[0]), grads


def unshared(params: Params, x: Array, y: Array) -> tuple[float, Params]:
    """Do not share weights over time: their gradient is that of the last step's use of them only.

    This is truncation to a single step: the state is carried on, its gradient is not carried back.
    """
    logits, backward = network(params, x[None], TANH, truncate=1)
    loss, dlogits = brier(logits, y[None], _all_scored(logits))
    return float(loss[0]), backward(dlogits)


def whole_softmax(params: Params, x: Array, y: Array) -> tuple[float, Params]:
    """Use a softmax over the whole array: all sequences' probabilities together add up to 1."""
    logits, backward = network(params, x[None], TANH)
    p, _ = softmax(logits.reshape(1, -1))
    p = p.reshape(logits.shape)
    loss = -(y * np.log(p)).sum() / len(x)
    return float(loss), backward((p - y) / len(x))  # p − y, as for a softmax of each sequence


def wrong_sign(params: Params, x: Array, y: Array) -> tuple[float, Params]:
    """Give every gradient the opposite sign, so that descent is ascent."""
    loss, grads = right(TOYS["tanh"])(params, x, y)
    return loss, {name: -grad for name, grad in grads.items()}


def _all_scored(logits: Array) -> Array:
    return np.ones(logits.shape[:-1], bool)


class Case(NamedTuple):
    """An implementation, the network whose parameters it takes, its English and Korean names."""

    implementation: Implementation
    toy: Toy
    names: tuple[str, str]


RIGHT = {
    "right": Case(right(TOYS["tanh"]), TOYS["tanh"], ("right: tanh", "올바름: tanh")),
    "right_prelu": Case(right(TOYS["prelu"]), TOYS["prelu"], ("right: PReLU", "올바름: PReLU")),
    "right_softmax": Case(
        right(TOYS["softmax"]), TOYS["softmax"], ("right: softmax", "올바름: softmax")
    ),
}
FAULTS = {
    "constant_tanh": Case(constant_tanh, TOYS["tanh"], ("“tanh” that is 1", "값이 1인 “tanh”")),
    "unshared": Case(
        unshared,
        TOYS["tanh"],
        ("weights not shared\nover time", "시간에 걸쳐\n공유하지 않은 가중치"),
    ),
    "whole_softmax": Case(
        whole_softmax,
        TOYS["softmax"],
        ("softmax over\nthe whole array", "배열 전체에 대한\nsoftmax"),
    ),
    "sign": Case(wrong_sign, TOYS["tanh"], ("wrong sign", "틀린 부호")),
}


def gradient_error(
    implementation: Implementation, params: Params, y: Array, rng: np.random.Generator
) -> float:
    """Return the relative error of the gradients: 0 if right, 2 if they have the wrong sign.

    Along a direction v the slope of the loss is ⟨∇L, v⟩, and the central difference
    (L(θ + εv) − L(θ − εv)) / 2ε is the same up to ε² (Nocedal and Wright 2006, chapter 8). A
    direction moves every parameter at once, so a few of them check all gradients together.
    """
    _, grads = implementation(params, X, y)

    def loss_at(step: float, v: Params) -> float:
        moved = {name: value + step * v[name] for name, value in params.items()}
        return implementation(moved, X, y)[0]

    directions = [_direction(params, rng) for _ in range(DIRECTIONS)]
    numeric = np.array([loss_at(STEP, v) - loss_at(-STEP, v) for v in directions]) / (2 * STEP)
    analytic = np.array([sum((grads[name] * v[name]).sum() for name in v) for v in directions])
    longer = max(np.linalg.norm(numeric), np.linalg.norm(analytic))
    return float(np.linalg.norm(numeric - analytic) / longer)


def _direction(params: Params, rng: np.random.Generator) -> Params:
    return {name: rng.normal(size=value.shape) for name, value in params.items()}


def gradient_errors(seed: int) -> dict[str, float]:
    """Return the relative error of the gradients of every case, each from its random start."""
    errors = {}
    for name, case in (RIGHT | FAULTS).items():
        rng = np.random.default_rng([STREAM, seed])
        y = case.toy.y
        params = initial_params(case.toy.model, X.shape[-1], y.shape[-1], [rng], "float64")
        errors[name] = gradient_error(case.implementation, params, y, rng)
    return errors

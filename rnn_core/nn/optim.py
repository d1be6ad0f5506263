"""Update rules and gradient clipping over a stack, each as torch defines it.

Parameters and gradients are flat, (M, P): one row for each model. Every row is updated by itself,
so a model's trajectory does not depend on the rest of its stack. Only operators are used that NumPy
arrays and torch tensors share, so one text serves both engines.
"""

from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import numpy as np

from rnn_core.nn.arrays import Array

Flat = Any
"""(M, P), a NumPy array or a torch tensor."""

State = dict[str, Any]
"""What a rule remembers: moments (M, P) and, of Adam, `step` (M,), its updates, in NumPy."""


@dataclass(frozen=True)
class Rule:
    """An update rule and its constants.

    Attributes:
        name: sgd, adam (Kingma and Ba 2015) or adamw (Loshchilov and Hutter 2019).
        momentum: of sgd, in [0, 1).
        weight_decay: is added to the gradient as an L2 penalty; adamw shrinks the parameters
            instead.
        betas: decay rates of Adam's first and second moment.
        eps: what Adam adds to the root of the second moment.
        clip_norm: the largest Euclidean norm of a model's whole gradient; None does not clip.
        clip_value: the largest element of a gradient, clipped before the norm; None does not clip.
    """

    name: Literal["sgd", "adam", "adamw"]
    momentum: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_norm: float | None = None
    clip_value: float | None = None


def start(rule: Rule, params: Flat) -> State:
    """Return the state before the first update."""
    if rule.name == "sgd":
        return {"velocity": params * 0} if rule.momentum else {}
    return {"step": np.zeros(len(params)), "first": params * 0, "second": params * 0}


def update(
    rule: Rule, params: Flat, grads: Flat, state: State, moves: Array, rate: Array
) -> list[int]:
    """Update the parameters of some models in place, by one step.

    The caller silences what overflows on the way.

    Args:
        rule: how a gradient becomes a step.
        params: (M, P), updated in place.
        grads: (M, P)
        state: what the rule remembers, updated in place.
        moves: (M,) True for the models to update; the others keep everything.
        rate: (M,) learning rates.

    Returns:
        The models that should move and have no finite gradient or step; their parameters stay as
        they were.
    """
    squares = _sum_of_squares(grads)
    lost = [] if squares < inf else _not_finite(grads)
    kept = _resting((params, *state.values()), moves)
    grads = _clipped(rule, grads, largest=squares**0.5)
    if rule.weight_decay and rule.name != "adamw":
        grads = grads + rule.weight_decay * params
    step = _sgd(rule, grads, state, rate) if rule.name == "sgd" else _adam(rule, grads, state, rate)
    if rule.name == "adamw":
        step += _column(rate * rule.weight_decay, params) * params
    if not _sum_of_squares(step) < inf:
        lost += _not_finite(step)
    if lost:
        step[lost] = 0
    params -= step
    for value, before in kept:
        value[~moves] = before
    return sorted({model for model in lost if moves[model]}) if lost else []


def _resting(values: tuple[Flat, ...], moves: Array) -> list[tuple[Flat, Flat]]:
    """Return each of the values with a copy of its rows that do not move."""
    if all(moves.tolist()):
        return []
    return [(value, value[~moves] * 1) for value in values]


def _clipped(rule: Rule, grads: Flat, largest: float) -> Flat:
    """Return the gradients clipped by value and norm.

    No element and no model's norm exceeds `largest`: well below a bound nothing is clipped.
    """
    if rule.clip_value is not None and not largest < rule.clip_value / 2:
        grads = grads.clip(-rule.clip_value, rule.clip_value)
    if rule.clip_norm is not None and not largest + 1e-6 < rule.clip_norm / 2:
        norm = (grads * grads).sum(1) ** 0.5
        factor = (rule.clip_norm / (norm + 1e-6)).clip(max=1)
        grads = grads * factor[:, None]
    return grads


def _sgd(rule: Rule, grads: Flat, state: State, rate: Array) -> Flat:
    """Return the step ηv with heavy-ball momentum, v ← μv + g; without momentum, ηg."""
    if rule.momentum:
        velocity = state["velocity"]
        velocity *= rule.momentum
        velocity += grads
        grads = velocity
    return _column(rate, grads) * grads


def _adam(rule: Rule, grads: Flat, state: State, rate: Array) -> Flat:
    """Return the step of Kingma and Ba (2015), algorithm 1.

    ε is added after the bias correction, as in torch.
    """
    beta1, beta2 = rule.betas
    first = state["first"]
    second = state["second"]
    state["step"] += 1.0
    first += (1 - beta1) * (grads - first)
    second *= beta2
    second += (1 - beta2) * (grads * grads)
    corrected_rate = rate / (1 - beta1 ** state["step"])
    scale = _column((1 - beta2 ** state["step"]) ** 0.5, grads)
    direction = first / (second**0.5 / scale + rule.eps)
    return _column(corrected_rate, grads) * direction


def _sum_of_squares(values: Flat) -> float:
    """Return the sum of all squares: one product, finite only if every value is."""
    row = values.reshape(-1)
    return float(row.dot(row))


def _not_finite(values: Flat) -> list[int]:
    """Return the rows with a NaN or an infinity: times zero, these alone do not become zero."""
    totals = (values * 0).sum(1).tolist()
    return [row for row, total in enumerate(totals) if total != 0]


def _column(values: Array, like: Flat) -> Flat:
    """Return `values` (M,) as a column (M, 1), or a scalar of one model, of the type of `like`."""
    # A product with a scalar begins in half of the time.
    column = values.reshape(-1, 1) if len(values) > 1 else values.reshape(())
    if isinstance(like, np.ndarray):
        return column.astype(like.dtype, copy=False)
    return like.new_tensor(column)

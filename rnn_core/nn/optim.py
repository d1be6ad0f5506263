"""Update rules and gradient clipping over a stack, each as torch defines it.

Parameters and gradients are flat, (M, P): one row a model. Every row is worked on by itself, so a model's trajectory
does not depend on what stands beside it. Only operators are used that NumPy arrays and torch tensors share, so that
one text serves both engines.
"""

from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import numpy as np

from rnn_core.nn.arrays import Array

Flat = Any
"""(M, P), a NumPy array or a torch tensor."""

State = dict[str, Any]
"""What a rule remembers: moments (M, P) of the parameters' kind and, for Adam, `step` (M,) of its updates, in NumPy."""


@dataclass(frozen=True)
class Rule:
    """An update rule and its constants.

    `clip_value` bounds each element of a gradient, then `clip_norm` the Euclidean norm of a model's whole gradient.
    `weight_decay` is added to the gradient, but for adamw, which shrinks the parameters instead (Loshchilov and
    Hutter, 2019).
    """

    name: Literal["sgd", "adam", "adamw"]
    momentum: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_norm: float | None = None
    clip_value: float | None = None


def start(rule: Rule, params: Flat) -> State:
    """The state before the first update."""
    if rule.name == "sgd":
        return {"velocity": params * 0} if rule.momentum else {}
    return {"step": np.zeros(len(params)), "first": params * 0, "second": params * 0}


def update(rule: Rule, params: Flat, grads: Flat, state: State, moves: Array, rate: Array) -> list[int]:
    """One step, in place, of the models that move (M,) at their learning `rate` (M,); the others keep everything.

    Returns those that should move and have no finite gradient and step; their parameters stay as they were. What
    overflows on the way is for the caller to silence.
    """
    squares = _squares(grads)
    lost = [] if squares < inf else _not_finite(grads)
    kept = [] if all(moves.tolist()) else [(value, value[~moves] * 1) for value in (params, *state.values())]
    largest = squares**0.5  # no element and no model's norm exceeds it, so well below a bound nothing is clipped
    if rule.clip_value is not None and not largest < rule.clip_value / 2:
        grads = grads.clip(-rule.clip_value, rule.clip_value)
    if rule.clip_norm is not None and not largest + 1e-6 < rule.clip_norm / 2:
        norm = (grads * grads).sum(1) ** 0.5
        grads = grads * (rule.clip_norm / (norm + 1e-6)).clip(max=1)[:, None]
    if rule.weight_decay and rule.name != "adamw":
        grads = grads + rule.weight_decay * params
    step = _sgd(rule, grads, state, rate) if rule.name == "sgd" else _adam(rule, grads, state, rate)
    if rule.name == "adamw":
        step += _column(rate * rule.weight_decay, params) * params
    if not _squares(step) < inf:
        lost += _not_finite(step)
    if lost:
        step[lost] = 0
    params -= step
    for value, before in kept:
        value[~moves] = before
    return sorted({model for model in lost if moves[model]}) if lost else []


def _sgd(rule: Rule, grads: Flat, state: State, rate: Array) -> Flat:
    """The step ηv with heavy-ball momentum, v ← μv + g; without, ηg."""
    if rule.momentum:
        velocity = state["velocity"]
        velocity *= rule.momentum
        velocity += grads
        grads = velocity
    return _column(rate, grads) * grads


def _adam(rule: Rule, grads: Flat, state: State, rate: Array) -> Flat:
    """The step of Kingma and Ba (2015), algorithm 1; ε is added after the bias correction, as in torch."""
    (beta1, beta2), first, second = rule.betas, state["first"], state["second"]
    state["step"] += 1.0
    first += (1 - beta1) * (grads - first)
    second *= beta2
    second += (1 - beta2) * (grads * grads)
    scale = _column((1 - beta2 ** state["step"]) ** 0.5, grads)
    return _column(rate / (1 - beta1 ** state["step"]), grads) * (first / (second**0.5 / scale + rule.eps))


def _squares(values: Flat) -> float:
    """The sum of all squares: one product, finite only if every value is."""
    row = values.reshape(-1)
    return float(row.dot(row))


def _not_finite(values: Flat) -> list[int]:
    """The rows that hold a NaN or an infinity, which alone do not become zero when multiplied by it."""
    return [row for row, total in enumerate((values * 0).sum(1).tolist()) if total != 0]


def _column(values: Array, like: Flat) -> Flat:
    """`values` (M,) in double precision as a column (M, 1), or alone, of the kind and type of `like`."""
    column = values.reshape(-1, 1) if len(values) > 1 else values.reshape(())  # which begins in half of the time
    return column.astype(like.dtype, copy=False) if isinstance(like, np.ndarray) else like.new_tensor(column)

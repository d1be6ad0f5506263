"""Update rules and gradient clipping over a stack, each as torch defines it.

Parameters and gradients are flat, (M, P): one row a model. Every row is worked on by itself, so a model's trajectory
does not depend on what stands beside it. Only operators are used that NumPy arrays and torch tensors share, so that
one text serves both engines.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rnn_core.arrays import Array

Flat = Any
"""(M, P), a NumPy array or a torch tensor."""

State = dict[str, Any]
"""What a rule remembers: `step` (M,) of updates taken, a NumPy array, and moments (M, P) of the parameters' kind."""


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
    moments = ("velocity",) if rule.name == "sgd" else ("first", "second")
    return {"step": np.zeros(len(params))} | {name: params * 0 for name in moments}


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is reported
def update(rule: Rule, params: Flat, grads: Flat, state: State, moves: Array, rate: Array) -> Array:
    """One step, in place, of the models that move (M,) at their learning `rate` (M,); the others keep everything.

    Returns which models have a finite gradient and step (M,); the parameters of one that has not stay as they were.
    """
    finite = _finite(grads)
    still = ~moves
    kept = [(value, value[still] * 1) for value in (params, *state.values())] if still.any() else []
    if rule.clip_value is not None:
        grads = grads.clip(-rule.clip_value, rule.clip_value)
    if rule.clip_norm is not None:
        norm = (grads * grads).sum(1) ** 0.5
        grads = grads * (rule.clip_norm / (norm + 1e-6)).clip(max=1)[:, None]
    if rule.weight_decay and rule.name != "adamw":
        grads = grads + rule.weight_decay * params
    step = _sgd(rule, grads, state, rate) if rule.name == "sgd" else _adam(rule, grads, state, rate)
    if rule.name == "adamw":
        step += _column(rate * rule.weight_decay, params) * params
    finite &= _finite(step)
    if not finite.all():
        step[~finite] = 0
    params -= step
    for value, before in kept:
        value[still] = before
    return finite


def _sgd(rule: Rule, grads: Flat, state: State, rate: Array) -> Flat:
    """Heavy-ball momentum: v ← μv + g; the step is ηv."""
    state["step"] += 1
    state["velocity"] *= rule.momentum
    state["velocity"] += grads
    return _column(rate, grads) * state["velocity"]


def _adam(rule: Rule, grads: Flat, state: State, rate: Array) -> Flat:
    """The step of Kingma and Ba (2015), algorithm 1; ε is added after the bias correction, as in torch."""
    (beta1, beta2), first, second = rule.betas, state["first"], state["second"]
    state["step"] += 1
    first += (1 - beta1) * (grads - first)
    second *= beta2
    second += (1 - beta2) * (grads * grads)
    scale = _column((1 - beta2 ** state["step"]) ** 0.5, grads)
    return _column(rate / (1 - beta1 ** state["step"]), grads) * (first / (second**0.5 / scale + rule.eps))


def _finite(values: Flat) -> Array:
    """Which rows (M,) hold neither NaN nor infinity: only those become zero when multiplied by it."""
    return np.array([total == 0 for total in (values * 0).sum(1).tolist()])


def _column(values: Array, like: Flat) -> Flat:
    """`values` (M,) in double precision as a column (M, 1) of the kind and type of `like`."""
    column = values[:, None]
    return column.astype(like.dtype) if isinstance(like, np.ndarray) else like.new_tensor(column)

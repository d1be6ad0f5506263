"""How far back a gradient reaches: by backpropagation and by the product of Jacobians."""

from typing import Any, NamedTuple

import numpy as np

from rnn_core.config import Model
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import State, recurrent

HIDDEN = 16
LENGTHS = (10, 50, 100, 200)
LONGEST = max(LENGTHS)
RADII = (0.5, 0.9, 1.0, 1.1, 1.5)  # largest |eigenvalue| of W_hh at the start
LOST = 1e-12  # a gradient smaller than this moves nothing


class Reach(NamedTuple):
    """Spectral norms of Jacobians by lag T − t, from 0 to T − 1.

    Attributes:
        state: (T,) of ∂s_T/∂s_t, where s is h, or (h, c) of an LSTM.
        inputs: (T,) of ∂s_T/∂x_t.
    """

    state: Array
    inputs: Array


def reach(model: Model, params: Params, x: Array) -> Reach:
    """Carry every unit vector back from the last state of x (T, I), one step at a time.

    The unit vectors are the rows of one batch.
    """
    size = HIDDEN * (2 if model.cell == "lstm" else 1)
    units = _units(size)
    d_state: State = (units[0], units[1]) if model.cell == "lstm" else units[0]
    states = [_norm(d_state)]
    inputs = []
    for backward in reversed(_backward_passes(model, params, x, size)):
        _, dx, d_state = backward(None, d_state)
        states.append(_norm(d_state))
        inputs.append(float(np.linalg.norm(dx[0, :, 0], 2)))
    return Reach(np.array(states[:-1]), np.array(inputs))


def _backward_passes(model: Model, params: Params, x: Array, rows: int) -> list[Any]:
    """Read x (T, I) in each of `rows` rows, and return the backward pass of every step."""
    passes: list[Any] = []
    h0 = c0 = None
    for value in x:
        batch = np.broadcast_to(value, (1, rows, 1, len(value))).copy()
        _, state, backward = recurrent(params, batch, cell=model.cell, h0=h0, c0=c0)
        h0, c0 = state if isinstance(state, tuple) else (state, None)
        passes.append(backward)
    return passes


def _units(size: int) -> list[Array]:
    """Return the unit vectors (size,) as gradients of h, and of c: each (1, 1, size, H)."""
    return [part[None, None] for part in np.split(np.eye(size), size // HIDDEN, axis=1)]


def _norm(d_state: State) -> float:
    """Return the spectral norm of the Jacobian whose rows are in d_state, (1, 1, N, H) each."""
    parts = d_state if isinstance(d_state, tuple) else (d_state,)
    return float(np.linalg.norm(np.concatenate([part[0, 0] for part in parts], axis=1), 2))


def jacobian_product(params: Params, x: Array) -> Array:
    """Return the spectral norms (T,) of ∂h_T/∂h_t by lag, for a tanh network over x (T, I).

    ∂h_T/∂h_t = Π_{k=t+1…T} diag(1 − h_k²) W_hh: Pascanu, Mikolov and Bengio, On the difficulty of
    training recurrent neural networks (2013), equation 5.
    """
    w_in = params["weight_ih_l0"][0]
    w = params["weight_hh_l0"][0]
    bias = params["bias_ih_l0"] + params["bias_hh_l0"]
    h = np.zeros(HIDDEN)
    jacobians = []
    for value in x:
        h = np.tanh(w_in @ value + w @ h + bias[0])
        jacobians.append((1 - h**2)[:, None] * w)
    product = np.eye(HIDDEN)
    norms = [1.0]
    for jacobian in reversed(jacobians[1:]):
        product = product @ jacobian
        norms.append(float(np.linalg.norm(product, 2)))
    return np.array(norms)


def relative_difference(a: Array, b: Array) -> float:
    """Return the largest relative difference, where b still has all its digits."""
    whole = b > np.finfo(float).tiny / np.finfo(float).eps
    return float((np.abs(a - b) / b)[whole].max())


def tanh_name(radius: float) -> str:
    """Return the name of the tanh network with this spectral radius.

    >>> tanh_name(1.0)
    'tanh 1'
    """
    return f"tanh {radius:g}"


def lost_at(reaches: dict[str, Reach]) -> dict[str, int]:
    """Return the first lag at which ‖∂s_T/∂s_t‖ is below `LOST`, for networks that have one."""
    below = {name: reached.state < LOST for name, reached in reaches.items()}
    return {name: int(lost.argmax()) for name, lost in below.items() if lost.any()}

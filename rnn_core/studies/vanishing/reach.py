"""How far back a gradient reaches: by backpropagation a step at a time and by the product of Jacobians."""

from typing import Any, NamedTuple

import numpy as np

from rnn_core.config import Model
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import State, recurrent

HIDDEN = 16
LENGTHS = (10, 50, 100, 200)
RADII = (0.5, 0.9, 1.0, 1.1, 1.5)  # largest |eigenvalue| of W_hh at the start
LOST = 1e-12  # a gradient smaller than this moves nothing


class Reach(NamedTuple):
    """Spectral norms by lag T − t, from 0 to T − 1: of ∂s_T/∂s_t (T,), s = h or an LSTM's (h, c), and of ∂s_T/∂x_t."""

    state: Array
    inputs: Array


def reach(model: Model, params: Params, x: Array) -> Reach:
    """Carry every unit vector back from the last state of x (T, I), a step at a time, as rows of one batch."""
    size = HIDDEN * (2 if model.cell == "lstm" else 1)
    steps: list[Any] = []
    h0 = c0 = None
    for value in x:
        batch = np.broadcast_to(value, (1, size, 1, len(value))).copy()
        _, state, backward = recurrent(params, batch, cell=model.cell, h0=h0, c0=c0)
        h0, c0 = state if isinstance(state, tuple) else (state, None)
        steps.append(backward)
    units = _units(size)
    d_state: State = (units[0], units[1]) if model.cell == "lstm" else units[0]
    states, inputs = [_norm(d_state)], []
    for backward in reversed(steps):
        _, dx, d_state = backward(None, d_state)
        states.append(_norm(d_state))
        inputs.append(float(np.linalg.norm(dx[0, :, 0], 2)))
    return Reach(np.array(states[:-1]), np.array(inputs))


def _units(size: int) -> list[Array]:
    """The unit vectors of the state (size,) as gradients of h, and of c: each (1, 1, size, H), one vector a row."""
    return [part[None, None] for part in np.split(np.eye(size), size // HIDDEN, axis=1)]


def _norm(d_state: State) -> float:
    """Largest singular value of the Jacobian whose rows stand in the gradients (1, 1, N, H) of h, and of c."""
    parts = d_state if isinstance(d_state, tuple) else (d_state,)
    return float(np.linalg.norm(np.concatenate([part[0, 0] for part in parts], axis=1), 2))


def jacobian_product(params: Params, x: Array) -> Array:
    """(T,) spectral norm of ∂h_T/∂h_t = Π_{k=t+1…T} diag(1 − h_k²) W_hh by lag, for a tanh network over x (T, I).

    Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks (2013), equation 5.
    """
    w_in, w, bias = (
        params["weight_ih_l0"][0],
        params["weight_hh_l0"][0],
        params["bias_ih_l0"] + params["bias_hh_l0"],
    )
    h, jacobians = np.zeros(HIDDEN), []
    for value in x:
        h = np.tanh(w_in @ value + w @ h + bias[0])
        jacobians.append((1 - h**2)[:, None] * w)
    product, norms = np.eye(HIDDEN), [1.0]
    for jacobian in reversed(jacobians[1:]):
        product = product @ jacobian
        norms.append(float(np.linalg.norm(product, 2)))
    return np.array(norms)


def relative_difference(a: Array, b: Array) -> float:
    """Largest relative difference, where a number still has all its digits."""
    whole = b > np.finfo(float).tiny / np.finfo(float).eps
    return float((np.abs(a - b) / b)[whole].max())


def tanh_name(radius: float) -> str:
    """Return the name of the tanh network with this spectral radius."""
    return f"tanh {radius:g}"


def lost_at(reaches: dict[str, Reach]) -> dict[str, int]:
    """The first lag at which ‖∂s_T/∂s_t‖ is below `LOST`, of the networks where there is one."""
    below = {name: one.state < LOST for name, one in reaches.items()}
    return {name: int(lost.argmax()) for name, lost in below.items() if lost.any()}

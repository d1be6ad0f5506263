"""One recurrent layer, in one direction or both."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers.axes import (
    StateParts,
    join_gates,
    join_steps,
    split_gates,
    stack_directions,
    sum_rows,
    zero_padding,
)
from rnn_core.nn.layers.cells import GATES, SCANS, Walk

LayerBackward: TypeAlias = Callable[[Array, StateParts], tuple[Params, Array, StateParts]]
"""`backward(dy, d_final)` gives `(grads, dx, d_initial)`."""

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "slope")


def run_layer(
    cell: str,
    params: Params,
    x: Array,
    initial: StateParts,
    suffixes: list[str],
    padding: Array | None,
) -> tuple[Array, StateParts, LayerBackward]:
    """Run one direction of a layer, or both.

    Args:
        cell: one of `GATES`.
        params: of all layers, by torch's names.
        x: (T, M, N, I)
        initial: states (M, D, N, H).
        suffixes: how the names of each direction's parameters end: "l0", "l0_reverse".
        padding: (T, 1 or M, N, 1) True where a sequence is over.

    Returns:
        y: (T, M, N, D·H) hidden states, zero at the padding.
        final: states (M, D, N, H).
        backward: see `LayerBackward`.
    """
    hiddens, finals, backwards = [], [], []
    for d, suffix in enumerate(suffixes):
        walk = Walk(range(len(x))[:: -1 if d else 1], padding)
        d_params = _of_direction(params, suffix)
        h, final, direction_backward = _direction(cell, d_params, x, _side(initial, d), walk)
        hiddens.append(h)
        finals.append(final)
        backwards.append(direction_backward)

    def backward(dy: Array, d_final: StateParts) -> tuple[Params, Array, StateParts]:
        grads: Params = {}
        dxs, d_initials = [], []
        for d, dh in enumerate(np.split(dy, len(suffixes), axis=-1)):
            d_grads, dx, d_initial = backwards[d](dh, _side(d_final, d))
            grads |= {f"{kind}_{suffixes[d]}": grad for kind, grad in d_grads.items()}
            dxs.append(dx)
            d_initials.append(d_initial)
        return grads, sum(dxs[1:], start=dxs[0]), stack_directions(d_initials)

    y = zero_padding(np.concatenate(hiddens, axis=-1), padding)
    return y, stack_directions(finals), backward


def _of_direction(params: Params, suffix: str) -> Params:
    """Return the parameters of one layer and direction by kind."""
    named = ((kind, f"{kind}_{suffix}") for kind in KINDS)
    return {kind: params[name] for kind, name in named if name in params}


def _side(states: StateParts, direction: int) -> StateParts:
    """Return the states (M, N, H) of one direction from those of all (M, D, N, H)."""
    return [state[:, direction] for state in states]


def _direction(
    cell: str, params: Params, x: Array, initial: StateParts, walk: Walk
) -> tuple[Array, StateParts, LayerBackward]:
    """Run one direction: project all inputs, then scan over time; states are (M, N, H)."""
    weight = split_gates(params["weight_ih"], GATES[cell])  # (G, M, H, I)
    projection = weight.swapaxes(2, 3)
    inputs = x
    if "bias_ih" in params:  # the weight of one more input, always 1
        bias = _input_bias(cell, params)[:, :, None]
        projection = np.concatenate([projection, bias], axis=2)  # (G, M, I + 1, H)
        inputs = np.concatenate([x, np.ones_like(x[..., :1])], axis=3)  # (T, M, N, I + 1)
    sums = np.matmul(inputs[:, None], projection)
    h, h_before, final, scan_backward = SCANS[cell](params, sums, initial, walk)

    def backward(dh: Array, d_final: StateParts) -> tuple[Params, Array, StateParts]:
        da = scan_backward(dh.copy(), [state.copy() for state in d_final])
        input_rows = join_steps(da.inputs)
        hidden_rows = input_rows if da.hidden is da.inputs else join_steps(da.hidden)
        grads = _input_gradients(params, input_rows, inputs)
        grads["weight_hh"] = _weight_gradient(hidden_rows, h_before)
        if "bias_hh" in params:
            grads["bias_hh"] = join_gates(sum_rows(hidden_rows))
        if da.slope is not None:
            grads["slope"] = da.slope
        dx = np.matmul(da.inputs, weight).sum(axis=1)
        return grads, dx, da.initial

    return h, final, backward


def _input_gradients(params: Params, d_rows: Array, inputs: Array) -> Params:
    """Return the gradients of `weight_ih` and `bias_ih`, which is the weight of the last input."""
    gradient = _weight_gradient(d_rows, inputs)  # (M, G·H, I or I + 1)
    if "bias_ih" not in params:
        return {"weight_ih": gradient.copy()}
    return {"weight_ih": gradient[..., :-1].copy(), "bias_ih": gradient[..., -1].copy()}


def _weight_gradient(d_rows: Array, inputs: Array) -> Array:
    """Return (M, G·H, I) from gradients of sums (G, M, T·N, H) and their inputs (T, M, N, I)."""
    return join_gates(np.matmul(d_rows.swapaxes(2, 3), join_steps(inputs)))


def _input_bias(cell: str, params: Params) -> Array:
    """Return the biases added before the recurrence (G, M, H).

    They are the sums of both sides, except for n of a GRU, whose hidden side is added inside.
    """
    bias_ih = split_gates(params["bias_ih"], GATES[cell])
    bias_hh = split_gates(params["bias_hh"], GATES[cell])
    bias: Array = bias_ih + bias_hh
    if cell == "gru":
        bias[2] = bias_ih[2]
    return bias

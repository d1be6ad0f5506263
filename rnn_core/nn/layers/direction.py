"""One recurrent layer, in one direction or both."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers.axes import _all_gates, _by_gate, _rows, _stack, _sum_rows, _without
from rnn_core.nn.layers.cells import _SCANS, GATES, _Walk

# From here on a state is a list of arrays: h, or h and c of an LSTM.
_LayerBackward: TypeAlias = Callable[[Array, list[Array]], tuple[Params, Array, list[Array]]]


def _layer(
    cell: str, params: Params, x: Array, initial: list[Array], names: list[str], padding: Array | None
) -> tuple[Array, list[Array], _LayerBackward]:
    """Both directions of a layer, or one: x (T, M, N, I) to hidden states (T, M, N, D·H); states are (M, D, N, H)."""
    hiddens, finals, backwards = [], [], []
    for d, name in enumerate(names):
        walk = _Walk(range(len(x))[:: -1 if d else 1], padding)
        h, final, direction_backward = _direction(cell, _own(params, name), x, [state[:, d] for state in initial], walk)
        hiddens.append(h)
        finals.append(final)
        backwards.append(direction_backward)

    def backward(dy: Array, d_final: list[Array]) -> tuple[Params, Array, list[Array]]:
        grads: Params = {}
        dxs, d_initials = [], []
        for d, dh in enumerate(np.split(dy, len(names), axis=-1)):
            own_grads, dx, d_initial = backwards[d](dh, [state[:, d] for state in d_final])
            grads |= {f"{kind}_{names[d]}": grad for kind, grad in own_grads.items()}
            dxs.append(dx)
            d_initials.append(d_initial)
        return grads, sum(dxs[1:], start=dxs[0]), _stack(d_initials)

    return _without(padding, np.concatenate(hiddens, axis=-1)), _stack(finals), backward


def _own(params: Params, name: str) -> Params:
    """The parameters of one layer and direction, without its name."""
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "slope")
    return {kind: params[f"{kind}_{name}"] for kind in kinds if f"{kind}_{name}" in params}


def _direction(
    cell: str, own: Params, x: Array, initial: list[Array], walk: _Walk
) -> tuple[Array, list[Array], _LayerBackward]:
    """One direction of one layer: the projection of all inputs, then the scan over time; states are (M, N, H)."""
    input_size = x.shape[-1]
    weight = _by_gate(own["weight_ih"], GATES[cell])  # (G, M, H, I)
    projection, inputs = weight.swapaxes(2, 3), x
    if "bias_ih" in own:  # the weight of one more input, always 1
        projection = np.concatenate([projection, _input_bias(cell, own)[:, :, None]], axis=2)  # (G, M, I + 1, H)
        inputs = np.concatenate([x, np.ones_like(x[..., :1])], axis=3)  # (T, M, N, I + 1)
    h, h_before, final, scan_backward = _SCANS[cell](own, np.matmul(inputs[:, None], projection), initial, walk)

    def backward(dh: Array, d_final: list[Array]) -> tuple[Params, Array, list[Array]]:
        da = scan_backward(dh.copy(), [state.copy() for state in d_final])
        input_rows = _rows(da.inputs)
        hidden_rows = input_rows if da.hidden is da.inputs else _rows(da.hidden)
        d_projection = _all_gates(np.matmul(input_rows.swapaxes(2, 3), _rows(inputs)))  # (M, G·H, I or I + 1)
        grads = {
            "weight_ih": d_projection[..., :input_size].copy(),
            "weight_hh": _all_gates(np.matmul(hidden_rows.swapaxes(2, 3), _rows(h_before))),
        }
        if "bias_ih" in own:
            grads["bias_ih"] = d_projection[..., input_size].copy()
            grads["bias_hh"] = _all_gates(_sum_rows(hidden_rows))
        if da.slope is not None:
            grads["slope"] = da.slope
        return grads, np.matmul(da.inputs, weight).sum(axis=1), da.initial

    return h, final, backward


def _input_bias(cell: str, own: Params) -> Array:
    """The biases added before the recurrence (G, M, H): all but a GRU's on the hidden side of n."""
    bias_ih, bias_hh = _by_gate(own["bias_ih"], GATES[cell]), _by_gate(own["bias_hh"], GATES[cell])
    bias: Array = bias_ih + bias_hh
    if cell == "gru":
        bias[2] = bias_ih[2]
    return bias

"""Recurrent layers, the linear layer, dropout and activations, each with its backward pass written by hand.

A layer is a function that returns its result and the function that carries a gradient back through it:
`y, backward = layer(params, x)`. The closure holds the activations and refers to the arrays that were given: `backward`
may be called any number of times, as long as those are not overwritten.

Axes: M models, N sequences, T steps, I input_size, H hidden_size, G gates of a cell, D directions. Models never mix:
each one takes the same operations, to the same bits, whatever stands beside it.

Inside, time comes first: x is (T, M, N, I), gates are (T, G, M, N, H), and each step, and each gate of it, is one
contiguous block. The loops over time hold nothing but the recurrence. Whatever does not recur is computed for all steps
at once: the projection of the inputs, the derivatives that depend on activations alone, the gradients of the weights.

A sequence that is over keeps its state. So the last state is that of the last valid step; and the reverse direction,
which meets the padding first, comes to the last valid step with its initial state.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from rnn_core.errors import ArrayError, ConfigError
from rnn_core.nn.arrays import Array, Params, check_array

# glibc gives large blocks back to the system when they are freed, and at the next call every page is faulted in anew,
# which took half of the time. Large is what exceeds the largest block freed so far, up to 32 MB: so free one of 31.
np.empty(31 * 2**20, np.uint8)

GATES = {"rnn_tanh": 1, "rnn_relu": 1, "rnn_sigmoid": 1, "rnn_prelu": 1, "gru": 3, "lstm": 4}
"""The recurrent cells and the number of gates in each."""

State: TypeAlias = Array | tuple[Array, Array]
"""`h_n` (M, D·num_layers, N, H), layer-major; of an LSTM the pair `(h_n, c_n)`."""


class RecurrentBackward(Protocol):
    """Gradients of the parameters, of x and of the initial state, from those of the output and of the last state."""

    def __call__(self, d_output: Array | None, d_state: State | None = None) -> tuple[Params, Array, State]:
        """Return `(grads, dx, d_initial)`; see `recurrent`."""
        ...


def recurrent(
    params: Params,
    x: Array,
    *,
    cell: str = "rnn_tanh",
    num_layers: int = 1,
    bidirectional: bool = False,
    lengths: Array | Sequence[int] | None = None,
    h0: Array | None = None,
    c0: Array | None = None,
    dropout: float = 0.0,
    rng: Sequence[np.random.Generator] | None = None,
) -> tuple[Array, State, RecurrentBackward]:
    """Run stacked recurrent layers over sequences, as `torch.nn.RNN`, `GRU` and `LSTM` do with `batch_first=True`.

    The equations are at `_rnn`, `_gru` and `_lstm`.

    Args:
        params: arrays by torch's names, each with a leading M: `weight_ih_l{k}` (M, G·H, I; above the first layer D·H),
            `weight_hh_l{k}` (M, G·H, H) and, unless the layers have no biases, `bias_ih_l{k}`, `bias_hh_l{k}`
            (M, G·H). Those of the reverse direction end in `_reverse`. Gates are stacked i, f, g, o in an LSTM and
            r, z, n in a GRU. For `rnn_prelu` also `slope_l{k}` (M,) or (M, 1), one per layer and direction.
        x: (M, N, T, I), float32 or float64.
        cell: one of `GATES`.
        num_layers: layers, each reading the outputs of the one below.
        bidirectional: every layer also reads backwards, from the last valid step.
        lengths: valid steps of each sequence, (N,) or (M, N), in any order; what x holds beyond them has no influence.
        h0: initial hidden states (M, D·num_layers, N, H), zero if None.
        c0: initial cell states of an LSTM, like `h0`.
        dropout: probability with which an element of one layer's output does not reach the next layer.
        rng: one Generator a model, needed for dropout.

    Returns:
        output: hidden states of the top layer (M, N, T, D·H), forward then reverse; zero beyond a length.
        state: states of every layer and direction after their last valid step.
        backward: `backward(d_output, d_state=None)` returns `(grads, dx, d_initial)`. `d_output` is shaped as `output`
            and ignored beyond a length, `d_state` as `state`; None is zero. `grads` has the names and shapes of
            `params`, `dx` that of `x` and `d_initial` that of `state`, whether or not initial states were given.

    Raises:
        ArrayError: an array of another shape, type or content than described.
        ConfigError: an unknown cell, fewer than one layer, or dropout outside [0, 1).
    """
    directions = 1 + bidirectional
    _check_inputs(x, lengths)
    _check_params(params, x, cell, num_layers, directions)
    state_shape = (len(x), directions * num_layers, x.shape[1], params["weight_hh_l0"].shape[-1])
    _check_initial(cell, h0, c0, state_shape, x.dtype)
    _check_dropout(dropout, rng, len(x))
    output, state, run_backward = run_recurrent(
        params,
        x,
        cell=cell,
        num_layers=num_layers,
        bidirectional=bidirectional,
        lengths=lengths,
        h0=h0,
        c0=c0,
        dropout=dropout,
        rng=rng,
    )

    def backward(d_output: Array | None, d_state: State | None = None) -> tuple[Params, Array, State]:
        if d_output is not None:
            check_array("d_output", d_output, output.shape, axes="M, N, T, D·H", dtype=x.dtype, finite=False)
        if d_state is not None:
            _check_d_state(d_state, state)
        return run_backward(d_output, d_state)

    return output, state, backward


def run_recurrent(
    params: Params,
    x: Array,
    *,
    cell: str = "rnn_tanh",
    num_layers: int = 1,
    bidirectional: bool = False,
    lengths: Array | Sequence[int] | None = None,
    h0: Array | None = None,
    c0: Array | None = None,
    dropout: float = 0.0,
    rng: Sequence[np.random.Generator] | None = None,
) -> tuple[Array, State, RecurrentBackward]:
    """`recurrent` without its checks, for a caller that made the arrays itself."""
    directions = ("", "_reverse") if bidirectional else ("",)
    places = [slice(layer * len(directions), (layer + 1) * len(directions)) for layer in range(num_layers)]
    padding = None if lengths is None else _padding(lengths, x.shape[2])
    initial = _initial_states([h0, c0] if cell == "lstm" else [h0], params, x, places[-1].stop)

    y = _without(padding, _time_first(x))
    finals, backwards = [], []
    for layer, place in enumerate(places):
        y, drop_backward = _drop(y, dropout if layer > 0 else 0.0, rng, axis=1)
        names = [f"l{layer}{direction}" for direction in directions]
        y, final, layer_backward = _layer(cell, params, y, [state[:, place] for state in initial], names, padding)
        finals.append(final)
        backwards.append((layer_backward, drop_backward))

    def backward(d_output: Array | None, d_state: State | None = None) -> tuple[Params, Array, State]:
        dy = np.zeros_like(y) if d_output is None else _without(padding, _time_first(d_output))
        d_final = [np.zeros_like(state) for state in initial] if d_state is None else _parts(d_state)
        grads: Params = {}
        d_initials = []
        for place, (layer_backward, drop_backward) in zip(reversed(places), reversed(backwards), strict=True):
            layer_grads, dy, d_initial = layer_backward(dy, [state[:, place] for state in d_final])
            dy = drop_backward(dy)
            grads |= layer_grads
            d_initials.append(d_initial)
        return {name: grads[name] for name in params}, _time_third(dy), _state(d_initials[::-1])

    return _time_third(y), _state(finals), backward


def _time_first(x: Array) -> Array:
    """(M, N, T, I) as (T, M, N, I)."""
    return x.transpose(2, 0, 1, 3)


def _time_third(y: Array) -> Array:
    """(T, M, N, H) as (M, N, T, H)."""
    return y.transpose(1, 2, 0, 3)


def _padding(lengths: Array | Sequence[int], seq_len: int) -> Array:
    """True where a sequence is over: (T, 1 or M, N, 1)."""
    return np.arange(seq_len)[:, None, None, None] >= np.atleast_2d(lengths)[..., None]


def _without(padding: Array | None, x: Array) -> Array:
    """Zero the padding of x (T, ..., M, N, H), whatever it holds there."""
    if padding is None:
        return x
    return np.where(padding if x.ndim == 4 else padding[:, None], 0, x)


def _initial_states(given: list[Array | None], params: Params, x: Array, places: int) -> list[Array]:
    shape = (len(x), places, x.shape[1], params["weight_hh_l0"].shape[-1])  # (M, D·num_layers, N, H)
    return [np.zeros(shape, x.dtype) if state is None else state for state in given]


def _parts(state: State) -> list[Array]:
    return list(state) if isinstance(state, tuple) else [state]


def _state(layers: list[list[Array]]) -> State:
    """The states (M, D, N, H) of the layers as one."""
    hidden, *cells = (np.concatenate(part, axis=1) for part in zip(*layers, strict=True))
    return (hidden, cells[0]) if cells else hidden


# From here on a state is a list of arrays: h, or h and c of an LSTM.
_LayerBackward: TypeAlias = Callable[[Array, list[Array]], tuple[Params, Array, list[Array]]]


class _Walk(NamedTuple):
    """The order in which a direction visits the steps, and where sequences are over: (T, 1 or M, N, 1)."""

    steps: range
    padding: Array | None


class _Scan(NamedTuple):
    """A walk that was made: hidden states after and before each step (T, M, N, H), final state, and the way back."""

    h: Array
    h_before: Array
    final: list[Array]
    backward: Callable[[Array, list[Array]], "_ScanGradients"]


class _ScanGradients(NamedTuple):
    """Gradients of the sums (T, G, M, N, H) that inputs and that hidden states enter, and of the initial state."""

    inputs: Array
    hidden: Array
    initial: list[Array]
    slope: Array | None = None


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


def _stack(states: list[list[Array]]) -> list[Array]:
    """The states (M, N, H) of the directions as (M, D, N, H)."""
    return [np.stack(part, axis=1) for part in zip(*states, strict=True)]


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


def _by_gate(weight: Array, gates: int) -> Array:
    """(M, G·H, ...) as (G, M, H, ...)."""
    return weight.reshape(len(weight), gates, -1, *weight.shape[2:]).swapaxes(0, 1)


def _all_gates(weight: Array) -> Array:
    """(G, M, H, ...) as (M, G·H, ...)."""
    return weight.swapaxes(0, 1).reshape(weight.shape[1], -1, *weight.shape[3:])


def _input_bias(cell: str, own: Params) -> Array:
    """The biases added before the recurrence (G, M, H): all but a GRU's on the hidden side of n."""
    bias_ih, bias_hh = _by_gate(own["bias_ih"], GATES[cell]), _by_gate(own["bias_hh"], GATES[cell])
    bias: Array = bias_ih + bias_hh
    if cell == "gru":
        bias[2] = bias_ih[2]
    return bias


def _rows(a: Array) -> Array:
    """All steps of a model as the rows of one matrix: (T, ..., M, N, H) as (..., M, T·N, H)."""
    first = range(1, a.ndim - 2)  # np.moveaxis takes longer than a small product
    return a.transpose(*first, 0, a.ndim - 2, a.ndim - 1).reshape(*a.shape[1:-2], -1, a.shape[-1])


def _sum_rows(a: Array) -> Array:
    """Sum over the last axis but one, as a product: BLAS is many times faster at it than `sum`."""
    total: Array = np.matmul(np.ones((1, a.shape[-2]), a.dtype), a)[..., 0, :]
    return total


def _trail(initial: Array, steps: range) -> tuple[Array, Array]:
    """Room for the states after and before each step: two views (T, M, N, H) of one array."""
    states = np.empty((len(steps) + 1, *initial.shape), initial.dtype)
    after, before = (states[1:], states[:-1]) if steps.step > 0 else (states[:-1], states[1:])
    before[steps[0]] = initial
    return after, before


def _rnn(cell: str, own: Params, sums: Array, initial: list[Array], walk: _Walk) -> _Scan:
    """Elman network (Elman 1990).

    From the sums of its inputs (T, 1, M, N, H):

    h_t = φ(a_t),  a_t = W_ih x_t + b_ih + W_hh h_{t−1} + b_hh
    """
    steps, padding = walk
    phi, phi_derivative = _prelu(own["slope"].reshape(-1, 1, 1)) if cell == "rnn_prelu" else _ACTIVATIONS[cell]
    weight = own["weight_hh"]
    weight_t = np.ascontiguousarray(weight.swapaxes(1, 2))
    a = sums[:, 0]  # completed in place
    h, h_before = _trail(initial[0], steps)
    product = np.empty_like(h[0])
    for t in steps:
        np.matmul(h_before[t], weight_t, out=product)
        a[t] += product
        phi(a[t], h[t])
        if padding is not None:
            np.copyto(h[t], h_before[t], where=padding[t])

    def backward(dh: Array, d_final: list[Array]) -> _ScanGradients:
        (dh_next,) = d_final
        da = _without(padding, phi_derivative(a, h))
        for t in reversed(steps):
            dh[t] += dh_next
            da[t] *= dh[t]
            np.matmul(da[t], weight, out=dh_next)
            if padding is not None:
                np.copyto(dh_next, dh[t], where=padding[t])
        da = da[:, None]
        if cell != "rnn_prelu":
            return _ScanGradients(da, da, [dh_next])
        dslope = _slope_gradient(own["slope"], _without(padding, a).swapaxes(0, 1), dh.swapaxes(0, 1))
        return _ScanGradients(da, da, [dh_next], dslope)

    return _Scan(h, h_before, [h[steps[-1]]], backward)


def _gru(own: Params, sums: Array, initial: list[Array], walk: _Walk) -> _Scan:
    """Gated recurrent unit (Cho et al. 2014), with the reset gate behind the hidden product as in cuDNN and torch.

    From the sums of its inputs (T, 3, M, N, H):

    r_t = σ(W_ir x_t + b_ir + W_hr h_{t−1} + b_hr)
    z_t = σ(W_iz x_t + b_iz + W_hz h_{t−1} + b_hz)
    n_t = tanh(W_in x_t + b_in + r_t ∘ m_t),  m_t = W_hn h_{t−1} + b_hn
    h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t−1}
    """
    steps, padding = walk
    weight = _by_gate(own["weight_hh"], 3)  # (3, M, H, H)
    weight_t = np.ascontiguousarray(weight.swapaxes(2, 3))
    bias_n = _by_gate(own["bias_hh"], 3)[2, :, None] if "bias_hh" in own else np.zeros_like(weight[2, :, :1])
    gates = sums  # become the gates in place
    r, z, n = gates.swapaxes(0, 1)  # each (T, M, N, H)
    h, h_before = _trail(initial[0], steps)
    m = np.empty_like(h)
    product, scratch = np.empty_like(gates[0]), np.empty_like(h[0])
    for t in steps:
        np.matmul(h_before[t], weight_t, out=product)
        np.add(product[2], bias_n, out=m[t])
        gates[t, :2] += product[:2]
        _sigmoid(gates[t, :2], gates[t, :2])
        np.multiply(r[t], m[t], out=scratch)
        n[t] += scratch
        np.tanh(n[t], out=n[t])
        np.subtract(h_before[t], n[t], out=scratch)
        scratch *= z[t]
        np.add(scratch, n[t], out=h[t])
        if padding is not None:
            np.copyto(h[t], h_before[t], where=padding[t])

    def backward(dh: Array, d_final: list[Array]) -> _ScanGradients:
        (dh_next,) = d_final
        # What dh_t is multiplied by on its way to the sum of n; to the sums of r and z, with σ′ = (1 − σ) σ, and to m;
        # and straight to h_{t−1}.
        to_n = _without(padding, (1 - z) * (1 - n * n))
        da = 1 - gates
        da *= gates
        da[:, 0] *= to_n * m
        da[:, 1] *= h_before - n
        np.multiply(to_n, r, out=da[:, 2])
        da = _without(padding, da)
        keep = z if padding is None else np.where(padding, 1, z)
        product, scratch = np.empty_like(da[0]), np.empty_like(dh_next)
        for t in reversed(steps):
            dh[t] += dh_next
            da[t] *= dh[t]
            np.matmul(da[t], weight, out=product)
            np.sum(product, axis=0, out=dh_next)
            np.multiply(dh[t], keep[t], out=scratch)
            dh_next += scratch
        da_inputs = da.copy()
        np.multiply(to_n, dh, out=da_inputs[:, 2])
        return _ScanGradients(da_inputs, da, [dh_next])

    return _Scan(h, h_before, [h[steps[-1]]], backward)


def _lstm(own: Params, sums: Array, initial: list[Array], walk: _Walk) -> _Scan:
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with forget gates (Gers et al. 2000).

    From the sums of its inputs (T, 4, M, N, H):

    i_t = σ(W_ii x_t + b_ii + W_hi h_{t−1} + b_hi), and f_t, o_t alike
    g_t = tanh(W_ig x_t + b_ig + W_hg h_{t−1} + b_hg)
    c_t = f_t ∘ c_{t−1} + i_t ∘ g_t
    h_t = o_t ∘ tanh(c_t)
    """
    steps, padding = walk
    weight = _by_gate(own["weight_hh"], 4)  # (4, M, H, H)
    weight_t = np.ascontiguousarray(weight.swapaxes(2, 3))
    gates = sums  # become the gates in place
    i, f, g, o = gates.swapaxes(0, 1)  # each (T, M, N, H)
    h, h_before = _trail(initial[0], steps)
    c, c_before = _trail(initial[1], steps)
    tanh_c = np.empty_like(h)
    # One tanh makes all four gates, since σ(a) = (1 + tanh(a/2)) / 2.
    is_tanh = np.array([0, 0, 1, 0], h.dtype)[:, None, None, None]
    scale, shift = (1 + is_tanh) / 2, (1 - is_tanh) / 2
    product, scratch = np.empty_like(gates[0]), np.empty_like(h[0])
    for t in steps:
        np.matmul(h_before[t], weight_t, out=product)
        product += gates[t]
        product *= scale
        np.tanh(product, out=product)
        product *= scale
        np.add(product, shift, out=gates[t])
        np.multiply(i[t], g[t], out=scratch)
        np.multiply(f[t], c_before[t], out=c[t])
        c[t] += scratch
        np.tanh(c[t], out=tanh_c[t])
        np.multiply(o[t], tanh_c[t], out=h[t])
        if padding is not None:
            np.copyto(h[t], h_before[t], where=padding[t])
            np.copyto(c[t], c_before[t], where=padding[t])

    def backward(dh: Array, d_final: list[Array]) -> _ScanGradients:
        dh_next, dc = d_final
        # What dc_t (dh_t for o) is multiplied by on its way to the sums, σ′ = (1 − σ) σ or tanh′ = (1 − tanh)(1 + tanh)
        # times what the gate is multiplied with; then from dh_t to dc_t, and from dc_t to dc_{t−1}.
        da = 1 - gates
        da *= gates + is_tanh
        for gate, factor in enumerate((g, c_before, i, tanh_c)):
            da[:, gate] *= factor
        da = _without(padding, da)
        to_c = _without(padding, o * (1 - tanh_c * tanh_c))
        keep = f if padding is None else np.where(padding, 1, f)
        product, scratch = np.empty_like(da[0]), np.empty_like(dc)
        for t in reversed(steps):
            dh[t] += dh_next
            np.multiply(dh[t], to_c[t], out=scratch)
            dc += scratch
            da[t, :3] *= dc
            da[t, 3] *= dh[t]
            np.matmul(da[t], weight, out=product)
            np.sum(product, axis=0, out=dh_next)
            if padding is not None:
                np.copyto(dh_next, dh[t], where=padding[t])
            dc *= keep[t]
        return _ScanGradients(da, da, [dh_next, dc])

    return _Scan(h, h_before, [h[steps[-1]], c[steps[-1]]], backward)


_SCANS = {cell: partial(_rnn, cell) for cell in GATES} | {"gru": _gru, "lstm": _lstm}


class _Activation(NamedTuple):
    """An elementwise function y = φ(a)."""

    value: Callable[[Array, Array], object]  # (a, out): writes y into out
    derivative: Callable[[Array, Array], Array]  # (a, y): a new array φ′(a)


def _sigmoid(a: Array, out: Array) -> None:
    """σ(a) = (1 + tanh(a/2)) / 2, which overflows nowhere."""
    np.multiply(a, 0.5, out=out)
    np.tanh(out, out=out)
    out *= 0.5
    out += 0.5


def _prelu(slope: Array) -> _Activation:
    """max(a, 0) + slope · min(a, 0), with a slope that broadcasts with a."""

    def value(a: Array, out: Array) -> None:
        np.minimum(a, 0, out=out)
        out *= slope
        out += np.maximum(a, 0)

    return _Activation(value, lambda a, y: np.where(a > 0, 1, slope))


def _slope_gradient(slope: Array, a: Array, dy: Array) -> Array:
    """The gradient of each model's slope, from a and dy (M, ...)."""
    each: Array = dy * np.minimum(a, 0)
    gradient: Array = each.reshape(len(a), -1).sum(axis=1)
    return gradient.reshape(slope.shape)


def _tanh_derivative(a: Array, y: Array) -> Array:
    derivative: Array = y * y
    return np.subtract(1, derivative, out=derivative)


_ACTIVATIONS = {
    "rnn_tanh": _Activation(np.tanh, _tanh_derivative),
    "rnn_relu": _Activation(lambda a, out: np.maximum(a, 0, out=out), lambda a, y: (y > 0).astype(y.dtype)),
    "rnn_sigmoid": _Activation(_sigmoid, lambda a, y: y * (1 - y)),
}

Elementwise: TypeAlias = tuple[Array, Callable[[Array], Array]]


def tanh(x: Array) -> Elementwise:
    """Return the hyperbolic tangent y of x, of any shape, and `backward(dy) -> dx`."""
    return _elementwise(_ACTIVATIONS["rnn_tanh"], x)


def relu(x: Array) -> Elementwise:
    """Return y = max(x, 0), of any shape, and `backward(dy) -> dx`; the derivative at 0 is 0."""
    return _elementwise(_ACTIVATIONS["rnn_relu"], x)


def sigmoid(x: Array) -> Elementwise:
    """Return y = 1 / (1 + exp(−x)), of any shape and to a rounding of 1, and `backward(dy) -> dx`."""
    return _elementwise(_ACTIVATIONS["rnn_sigmoid"], x)


def _elementwise(activation: _Activation, x: Array) -> Elementwise:
    y = np.empty_like(x)
    activation.value(x, y)
    return y, lambda dy: dy * activation.derivative(x, y)


def prelu(x: Array, slope: Array) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
    """Return y = max(x, 0) + slope · min(x, 0) of x (M, ...), and `backward(dy) -> (dx, dslope)` (He et al. 2015).

    The slope is learnt, one of each model: (M,) or (M, 1). The derivative at 0 is the slope.
    """
    y, backward = _elementwise(_prelu(slope.reshape(-1, *[1] * (x.ndim - 1))), x)
    return y, lambda dy: (backward(dy), _slope_gradient(slope, x, dy))


def softmax(x: Array) -> Elementwise:
    """Return y = exp(x) / Σ exp(x) over the last axis, and `backward(dy) -> dx`."""
    y = np.exp(x - x.max(axis=-1, keepdims=True))
    y /= y.sum(axis=-1, keepdims=True)
    return y, lambda dy: y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def dropout(x: Array, p: float, rng: Sequence[np.random.Generator] | None) -> Elementwise:
    """Zero each element of x (M, ...) with probability p and divide the others by 1 − p (Srivastava et al. 2014).

    `rng` holds one Generator a model; with p = 0 none is drawn from and x comes back as it is. The draws are float32
    whatever x is, so that both precisions see the same mask. `backward(dy)` returns dx under that mask.

    Raises:
        ConfigError: p outside [0, 1).
        ArrayError: p > 0 and not one Generator a model.
    """
    _check_dropout(p, rng, len(x))
    return _drop(x, p, rng, axis=0)


def _drop(x: Array, p: float, rng: Sequence[np.random.Generator] | None, axis: int) -> Elementwise:
    """`dropout` without its checks, the models along `axis`."""
    if p == 0 or rng is None:
        return x, lambda dy: dy
    one_model = x.shape[:axis] + x.shape[axis + 1 :]
    kept = np.stack([stream.random(one_model, np.float32) >= p for stream in rng], axis)
    mask = kept * x.dtype.type(1 / (1 - p))
    return x * mask, lambda dy: dy * mask


def linear(params: Params, x: Array) -> tuple[Array, Callable[[Array], tuple[Params, Array]]]:
    """Return y = x Wᵀ + b of x (M, ..., I), with `weight` (M, O, I) and, if there is one, `bias` (M, O).

    Beside y (M, ..., O) comes `backward(dy) -> (grads, dx)`, the gradients by the names of params.

    Raises:
        ArrayError: params, x or dy of shapes that do not fit.
    """
    _check_linear(params, x)
    weight, rows = params["weight"], x.reshape(len(x), -1, x.shape[-1])  # (M, O, I), (M, R, I)
    y = np.matmul(rows, weight.swapaxes(1, 2))  # (M, R, O)
    if "bias" in params:
        y += params["bias"][:, None]
    shape = (*x.shape[:-1], weight.shape[1])

    def backward(dy: Array) -> tuple[Params, Array]:
        if dy.shape != shape:
            raise ArrayError(f"dy has shape {dy.shape}; {shape} is expected, the shape of y")
        d_rows = dy.reshape(y.shape)
        grads = {"weight": np.matmul(d_rows.swapaxes(1, 2), rows)}
        if "bias" in params:
            grads["bias"] = _sum_rows(d_rows)
        outer = weight.shape[1] == 1  # of two vectors: many times faster than as a product of matrices
        d_x = d_rows * weight if outer else np.matmul(d_rows, weight)
        return grads, d_x.reshape(x.shape)

    return y.reshape(shape), backward


def _check_linear(params: Params, x: Array) -> None:
    weight = params["weight"]
    if weight.ndim != 3 or x.ndim < 2 or weight.shape[::2] != x.shape[:: x.ndim - 1]:
        raise ArrayError(f"x has shape {x.shape} and weight {weight.shape}; (M, ..., I) and (M, O, I) are expected")
    if "bias" in params and params["bias"].shape != weight.shape[:2]:
        raise ArrayError(f"bias has shape {params['bias'].shape}; (M, O) = {weight.shape[:2]} is expected")


def _check_dropout(p: float, rng: Sequence[np.random.Generator] | None, models: int) -> None:
    if not 0 <= p < 1:
        raise ConfigError(f"dropout is {p}; a probability in [0, 1) is expected")
    streams = list(rng) if isinstance(rng, Sequence) else []
    if p > 0 and not (len({id(stream) for stream in streams}) == len(streams) == models):
        received = f"{len(streams)} Generators" if streams else type(rng).__name__
        raise ArrayError(f"rng is {received}; dropout expects {models} Generators, one of its own for each model")


def _check_inputs(x: Array, lengths: Array | Sequence[int] | None) -> None:
    check_array("x", x, (None,) * 4, axes="M, N, T, I", finite=False)
    if x.size == 0:
        raise ArrayError(f"x has shape {x.shape}; (M, N, T, I) of at least 1 each are expected")
    padding = None
    if lengths is not None:
        _check_lengths(np.asarray(lengths), *x.shape[:3])
        padding = np.moveaxis(_padding(lengths, x.shape[2]), 0, 2)  # (1 or M, N, T, 1)
    check_array("x", _without(padding, x), x.shape, axes="M, N, T, I")


def _check_lengths(lengths: Array, models: int, batch: int, seq_len: int) -> None:
    if lengths.dtype.kind not in "iu" or lengths.shape not in ((batch,), (models, batch)):
        raise ArrayError(
            f"lengths is a {lengths.dtype} array of shape {lengths.shape}; "
            f"integers of shape (N,) = ({batch},) or (M, N) = ({models}, {batch}) are expected"
        )
    if lengths.min() < 1 or lengths.max() > seq_len:
        raise ArrayError(
            f"lengths of shape {lengths.shape} run from {lengths.min()} to {lengths.max()}; "
            f"1 to T = {seq_len} is expected"
        )


def _check_params(params: Params, x: Array, cell: str, num_layers: int, directions: int) -> None:
    if cell not in GATES:
        raise ConfigError(f"cell is {cell!r}; one of {', '.join(GATES)} is expected")
    if num_layers < 1:
        raise ConfigError(f"num_layers is {num_layers}; at least 1 is expected")
    if "weight_hh_l0" not in params:
        raise ArrayError(f"params lacks weight_hh_l0; it has {', '.join(params) or 'nothing'}")
    check_array("weight_hh_l0", params["weight_hh_l0"], (None,) * 3, axes="M, G·H, H")
    expected = _param_shapes(params, x, cell, num_layers, directions)
    lacking = [name for name in expected if name not in params]
    surplus = [name for name in params if name not in expected]
    if lacking or surplus:
        raise ArrayError(
            f"params lacks {', '.join(lacking) or 'nothing'} and has {', '.join(surplus) or 'nothing'} too much: "
            f"{num_layers} layers of {cell} in {directions} directions are expected"
        )
    for name, (axes, shape) in expected.items():
        check_array(name, params[name], shape, axes=axes, dtype=x.dtype)


def _param_shapes(
    params: Params, x: Array, cell: str, num_layers: int, directions: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The axes and the shape of each parameter that belongs with x."""
    models, hidden_size = len(x), params["weight_hh_l0"].shape[-1]
    rows = GATES[cell] * hidden_size
    expected: dict[str, tuple[str, tuple[int, ...]]] = {}
    for layer in range(num_layers):
        input_size = x.shape[-1] if layer == 0 else directions * hidden_size
        for direction in ("", "_reverse")[:directions]:
            name = f"l{layer}{direction}"
            expected[f"weight_ih_{name}"] = "M, G·H, I" if layer == 0 else "M, G·H, D·H", (models, rows, input_size)
            expected[f"weight_hh_{name}"] = "M, G·H, H", (models, rows, hidden_size)
            if any(given.startswith("bias") for given in params):
                expected[f"bias_ih_{name}"] = expected[f"bias_hh_{name}"] = "M, G·H", (models, rows)
            if cell == "rnn_prelu":
                flat = np.ndim(params.get(f"slope_{name}", 0)) == 1
                expected[f"slope_{name}"] = ("M", (models,)) if flat else ("M, 1", (models, 1))
    return expected


def _check_initial(cell: str, h0: Array | None, c0: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if c0 is not None and cell != "lstm":
        raise ArrayError(f"c0 of shape {np.shape(c0)} is given; cell is {cell}, and only an lstm has cell states")
    for name, state in (("h0", h0), ("c0", c0)):
        if state is not None:
            check_array(name, state, shape, axes="M, D·num_layers, N, H", dtype=dtype)


def _check_d_state(d_state: State, state: State) -> None:
    given, expected = _parts(d_state), _parts(state)
    if len(given) != len(expected):
        raise ArrayError(f"d_state has {len(given)} arrays; {len(expected)} are expected, as state has")
    for name, part, of in zip(("h_n", "c_n"), given, expected, strict=False):
        check_array(f"d_state of {name}", part, of.shape, axes="M, D·num_layers, N, H", dtype=of.dtype, finite=False)

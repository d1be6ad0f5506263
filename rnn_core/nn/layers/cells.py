"""The recurrent cells: what each does with the sums of its inputs, step by step, and back."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers.activations import _ACTIVATIONS, _prelu, _sigmoid, _slope_gradient
from rnn_core.nn.layers.axes import _by_gate, _without

GATES = {"rnn_tanh": 1, "rnn_relu": 1, "rnn_sigmoid": 1, "rnn_prelu": 1, "gru": 3, "lstm": 4}
"""The recurrent cells and the number of gates in each."""


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

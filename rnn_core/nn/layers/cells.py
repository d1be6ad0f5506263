"""The recurrent cells: the scan of each over the steps, and back."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers.activations import (
    RELU,
    SIGMOID,
    TANH,
    Activation,
    prelu_of,
    slope_gradient,
    write_sigmoid,
)
from rnn_core.nn.layers.axes import StateParts, split_gates, zero_padding

GATES = {"rnn_tanh": 1, "rnn_relu": 1, "rnn_sigmoid": 1, "rnn_prelu": 1, "gru": 3, "lstm": 4}
"""The recurrent cells and the number of gates in each."""

ACTIVATIONS = {"rnn_tanh": TANH, "rnn_relu": RELU, "rnn_sigmoid": SIGMOID}


class Walk(NamedTuple):
    """The order in which a direction visits the steps, and where sequences are over."""

    steps: range
    padding: Array | None  # (T, 1 or M, N, 1)


class ScanGradients(NamedTuple):
    """What a scan carries back.

    Attributes:
        inputs: (T, G, M, N, H) gradients of what the inputs add to the gates' sums.
        hidden: (T, G, M, N, H) gradients of what the hidden states add to them.
        initial: gradients (M, N, H) of the initial state.
        slope: the gradient of a PReLU's slope.
    """

    inputs: Array
    hidden: Array
    initial: StateParts
    slope: Array | None = None


class Scan(NamedTuple):
    """One direction's way over all steps.

    Attributes:
        h: (T, M, N, H) hidden states after each step.
        h_before: (T, M, N, H) hidden states before each step.
        final: the state (M, N, H) after the last step.
        backward: (dh, d_final), which it overwrites, to the gradients.
    """

    h: Array
    h_before: Array
    final: StateParts
    backward: Callable[[Array, StateParts], ScanGradients]


def rnn(cell: str, params: Params, sums: Array, initial: StateParts, walk: Walk) -> Scan:
    """Scan with an Elman network (Elman 1990).

    From the sums of its inputs (T, 1, M, N, H), which it overwrites:

    h_t = φ(a_t),  a_t = W_ih x_t + b_ih + W_hh h_{t−1} + b_hh
    """
    steps, padding = walk
    phi = _activation(cell, params)
    weight = params["weight_hh"]
    weight_t = np.ascontiguousarray(weight.swapaxes(1, 2))
    a = sums[:, 0]  # completed in place
    h, h_before = _room(initial[0], steps)
    product = np.empty_like(h[0])
    for t in steps:
        np.matmul(h_before[t], weight_t, out=product)
        a[t] += product
        phi.value(a[t], h[t])
        if padding is not None:
            np.copyto(h[t], h_before[t], where=padding[t])

    def backward(dh: Array, d_final: StateParts) -> ScanGradients:
        (dh_next,) = d_final
        da = zero_padding(phi.derivative(a, h), padding)
        for t in reversed(steps):
            dh[t] += dh_next
            da[t] *= dh[t]
            np.matmul(da[t], weight, out=dh_next)
            if padding is not None:
                np.copyto(dh_next, dh[t], where=padding[t])
        d_sums = da[:, None]
        if cell != "rnn_prelu":
            return ScanGradients(d_sums, d_sums, [dh_next])
        valid_a = zero_padding(a, padding).swapaxes(0, 1)
        d_slope = slope_gradient(params["slope"], valid_a, dh.swapaxes(0, 1))
        return ScanGradients(d_sums, d_sums, [dh_next], d_slope)

    return Scan(h, h_before, [h[steps[-1]]], backward)


def gru(params: Params, sums: Array, initial: StateParts, walk: Walk) -> Scan:
    """Scan with a gated recurrent unit (Cho et al. 2014).

    The reset gate comes after the hidden product, as in cuDNN and torch. From the sums of its
    inputs (T, 3, M, N, H), which it overwrites:

    r_t = σ(W_ir x_t + b_ir + W_hr h_{t−1} + b_hr)
    z_t = σ(W_iz x_t + b_iz + W_hz h_{t−1} + b_hz)
    n_t = tanh(W_in x_t + b_in + r_t ∘ m_t),  m_t = W_hn h_{t−1} + b_hn
    h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t−1}
    """
    steps, padding = walk
    weight = split_gates(params["weight_hh"], 3)  # (3, M, H, H)
    weight_t = np.ascontiguousarray(weight.swapaxes(2, 3))
    bias_n = _bias_n(params, weight)
    gates = sums  # become the gates in place
    r, z, n = gates.swapaxes(0, 1)  # each (T, M, N, H)
    h, h_before = _room(initial[0], steps)
    m = np.empty_like(h)
    product = np.empty_like(gates[0])
    scratch = np.empty_like(h[0])
    for t in steps:
        np.matmul(h_before[t], weight_t, out=product)
        np.add(product[2], bias_n, out=m[t])
        gates[t, :2] += product[:2]
        write_sigmoid(gates[t, :2], gates[t, :2])
        np.multiply(r[t], m[t], out=scratch)
        n[t] += scratch
        np.tanh(n[t], out=n[t])
        np.subtract(h_before[t], n[t], out=scratch)
        scratch *= z[t]
        np.add(scratch, n[t], out=h[t])
        if padding is not None:
            np.copyto(h[t], h_before[t], where=padding[t])

    def backward(dh: Array, d_final: StateParts) -> ScanGradients:
        (dh_next,) = d_final
        # The factors of dh_t on its way to the sum of n; to the sums of r and z, where
        # σ′ = (1 − σ) σ, and to m; and straight to h_{t−1}.
        to_n = zero_padding((1 - z) * (1 - n * n), padding)
        da = 1 - gates
        da *= gates
        da[:, 0] *= to_n * m
        da[:, 1] *= h_before - n
        np.multiply(to_n, r, out=da[:, 2])
        da = zero_padding(da, padding)
        keep = z if padding is None else np.where(padding, 1, z)
        product = np.empty_like(da[0])
        scratch = np.empty_like(dh_next)
        for t in reversed(steps):
            dh[t] += dh_next
            da[t] *= dh[t]
            np.matmul(da[t], weight, out=product)
            np.sum(product, axis=0, out=dh_next)
            np.multiply(dh[t], keep[t], out=scratch)
            dh_next += scratch
        d_inputs = da.copy()
        np.multiply(to_n, dh, out=d_inputs[:, 2])
        return ScanGradients(d_inputs, da, [dh_next])

    return Scan(h, h_before, [h[steps[-1]]], backward)


def lstm(params: Params, sums: Array, initial: StateParts, walk: Walk) -> Scan:
    """Scan with long short-term memory (Hochreiter & Schmidhuber 1997).

    It has forget gates (Gers et al. 2000). From the sums of its inputs (T, 4, M, N, H), which it
    overwrites:

    i_t = σ(W_ii x_t + b_ii + W_hi h_{t−1} + b_hi), and f_t, o_t alike
    g_t = tanh(W_ig x_t + b_ig + W_hg h_{t−1} + b_hg)
    c_t = f_t ∘ c_{t−1} + i_t ∘ g_t
    h_t = o_t ∘ tanh(c_t)
    """
    steps, padding = walk
    weight = split_gates(params["weight_hh"], 4)  # (4, M, H, H)
    weight_t = np.ascontiguousarray(weight.swapaxes(2, 3))
    gates = sums  # become the gates in place
    i, f, g, o = gates.swapaxes(0, 1)  # each (T, M, N, H)
    h, h_before = _room(initial[0], steps)
    c, c_before = _room(initial[1], steps)
    tanh_c = np.empty_like(h)
    # One tanh makes all four gates, since σ(a) = (1 + tanh(a/2)) / 2.
    is_tanh = np.array([0, 0, 1, 0], h.dtype)[:, None, None, None]
    scale = (1 + is_tanh) / 2
    shift = (1 - is_tanh) / 2
    product = np.empty_like(gates[0])
    scratch = np.empty_like(h[0])
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

    def backward(dh: Array, d_final: StateParts) -> ScanGradients:
        dh_next, dc = d_final
        # The factors of dc_t (of dh_t for o) on its way to the sums: σ′ = (1 − σ) σ or
        # tanh′ = (1 − tanh)(1 + tanh), times what the gate is multiplied with.
        da = 1 - gates
        da *= gates + is_tanh
        for gate, factor in enumerate((g, c_before, i, tanh_c)):
            da[:, gate] *= factor
        da = zero_padding(da, padding)
        to_c = zero_padding(o * (1 - tanh_c * tanh_c), padding)  # from dh_t to dc_t
        keep = f if padding is None else np.where(padding, 1, f)  # from dc_t to dc_{t−1}
        product = np.empty_like(da[0])
        scratch = np.empty_like(dc)
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
        return ScanGradients(da, da, [dh_next, dc])

    return Scan(h, h_before, [h[steps[-1]], c[steps[-1]]], backward)


SCANS: dict[str, Callable[[Params, Array, StateParts, Walk], Scan]] = {
    "rnn_tanh": partial(rnn, "rnn_tanh"),
    "rnn_relu": partial(rnn, "rnn_relu"),
    "rnn_sigmoid": partial(rnn, "rnn_sigmoid"),
    "rnn_prelu": partial(rnn, "rnn_prelu"),
    "gru": gru,
    "lstm": lstm,
}


def _room(initial: Array, steps: range) -> tuple[Array, Array]:
    """Return room for the states after and before each step: views (T, M, N, H) of one array."""
    states = np.empty((len(steps) + 1, *initial.shape), initial.dtype)
    earlier = states[:-1]
    later = states[1:]
    after, before = (later, earlier) if steps.step > 0 else (earlier, later)
    before[steps[0]] = initial
    return after, before


def _activation(cell: str, params: Params) -> Activation:
    if cell == "rnn_prelu":
        return prelu_of(params["slope"].reshape(-1, 1, 1))
    return ACTIVATIONS[cell]


def _bias_n(params: Params, weight: Array) -> Array:
    """Return b_hn (M, 1, H), zero without biases."""
    if "bias_hh" in params:
        return split_gates(params["bias_hh"], 3)[2, :, None]
    return np.zeros_like(weight[2, :, :1])

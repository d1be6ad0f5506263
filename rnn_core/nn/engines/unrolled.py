"""One recurrent layer under a linear head, unrolled over time in arrays that are made once and written again and again.

It covers what the compiled kernel covers (rnn_tanh, gru and lstm, of one layer, in one direction) and computes what
`rnn_core.nn.network` does, from the same equations, in a fraction of the calls: in small batches the calls are what
takes the time. All that a step reads stands in one matrix, so one product makes its sums, and one the gradients of all
weights.

Axes: M models, T steps, N sequences, I inputs, H hidden units, S steps that are read out, O outputs. Sequences come
last: what a step computes of a model is one contiguous block. A single model has no M: `np.dot`, which knows no stacks,
has begun in half of the time that `np.matmul` takes, and gives the same bits on contiguous blocks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy import add, matmul, multiply, square, subtract, tanh

from rnn_core.nn.arrays import Array, Params, unflatten
from rnn_core.nn.settings import Model

Pass: TypeAlias = Callable[[], object]
Net: TypeAlias = Callable[[Array, Array | None], tuple[Array, Callable[[Array], Array]]]
"""From x (M, N, T, I) and lengths (M, N) to logits (M, N, S, O) and, from their gradient, that of all parameters."""

GATES = {"rnn_tanh": [0], "gru": [2, 0, 1], "lstm": [3, 0, 1, 2]}
"""The order of the gates of inputs and sums, by their places in torch's: n, r, z; o, i, f, g."""


def layout(model: Model, places: Params) -> Params:
    """The blocks of parameters, from the `places` at which those of torch's names stand.

    `head` is (O, 1 + H), the bias before the weights; `recurrent` is (G·H, 1 + H + 1 + I), what multiplies 1, the
    hidden state before, 1 and the inputs. A GRU needs the sums of the two halves by themselves: `recurrent`
    (3·H, 1 + H) in torch's order of the gates, and `inputs` (3·H, 1 + I). Without biases these have no ones.
    """

    def beside(kind: str, gates: list[int]) -> Array:
        names = [name for name in (f"bias_{kind}_l0", f"weight_{kind}_l0") if name in places]
        rows = np.column_stack([places[name] for name in names])
        return rows.reshape(len(gates), -1, rows.shape[1])[gates].reshape(rows.shape)

    head = {"head": np.column_stack([places["head.bias"], places["head.weight"]])}
    inputs = beside("ih", GATES[model.cell])
    if model.cell == "gru":
        return {"recurrent": beside("hh", [0, 1, 2]), "inputs": inputs} | head
    return {"recurrent": np.concatenate([beside("hh", GATES[model.cell]), inputs], axis=1)} | head


def unrolled(model: Model, flat: Array, blocks: dict[str, tuple[int, ...]], shape: tuple[int, ...]) -> Net:
    """The net whose parameters `flat` (M, P) hold the `blocks`, for x of `shape` (M, N, T, I), all of them valid.

    What it returns is overwritten when it is called again.
    """
    models, rows, seq_len, input_size = shape
    hidden, bias, dtype = model.hidden_size, int(model.bias), flat.dtype
    steps = seq_len if model.readout == "steps" else 1
    grads = np.empty_like(flat)
    reads = np.ones((models, seq_len + 1, 1 + hidden + bias + input_size, rows), dtype)  # 1, h before the step, 1, x
    reads[:, 0, 1 : 1 + hidden] = 0
    logits, d_logits = np.empty((2, models, steps, *blocks["head"][:1], rows), dtype)
    d_hidden = np.empty((models, steps, hidden, rows), dtype)
    inputs, outside, d_outside = (
        each.transpose(0, 3, 1, 2) for each in (reads[:, :-1, 1 + hidden + bias :], logits, d_logits)
    )
    if models == 1:
        reads, logits, d_logits, d_hidden = reads[0], logits[0], d_logits[0], d_hidden[0]
    weights, d_weights = (
        {name: block[0] if models == 1 else block for name, block in unflatten(each, blocks).items()}
        for each in (flat, grads)
    )
    # Where the last state alone is read, its gradient is all that there is: what a step hands to the one before it
    # takes the same place.
    dh, handed = _steps(d_hidden), np.empty_like(d_hidden[..., 0, :, :])
    if steps < seq_len:
        dh, handed = dh * seq_len, dh[0]
    back = weights["recurrent"][..., bias : bias + hidden].swapaxes(-1, -2)
    parts = reads[..., :-1, 1 - bias :, :], reads[..., 1 : 1 + hidden, :]
    arrays = _Arrays(weights, d_weights, reads, *parts, dh, handed, np.empty(back.shape, dtype))
    run, run_back = _CELLS[model.cell](arrays)

    head, read = weights["head"], reads[..., -steps:, : 1 + hidden, :]
    sum_head_products = _sum_of_products(d_logits, read, d_weights["head"])
    if steps == 1:
        read, logits, d_logits, d_hidden = (each[..., 0, :, :] for each in (read, logits, d_logits, d_hidden))
    else:
        head = head[..., None, :, :]
    logits_of, back_from_head = _product(head), _product_of_turned(head[..., 1:].swapaxes(-1, -2))

    def backward(dlogits: Array) -> Array:
        d_outside[...] = dlogits
        sum_head_products()
        back_from_head(d_logits, d_hidden)
        arrays.back[...] = back
        run_back()
        return grads

    def net(x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array], Array]]:
        inputs[...] = x
        run()
        logits_of(read, logits)
        return outside, backward

    return net


class _Arrays(NamedTuple):
    """What a cell works in, with or without M.

    `reads` (M, T, ·, N) and the hidden states `h` (M, T + 1, H, N), both parts of `room`; of each step the gradient
    `dh` (M, H, N) of its state, and `handed` (M, H, N), what a step adds to that of the one before, unless it is the
    same array. `back` (M, H, G·H) takes the gradient of the sums to that of the state before.
    """

    weights: Params
    grads: Params
    room: Array
    reads: Array
    h: Array
    dh: list[Array]
    handed: Array
    back: Array


def _steps(*arrays: Array) -> list[Any]:
    """Views of the steps of arrays (M, T, ·, N), made once: one by one, or side by side."""
    views = [list(np.moveaxis(each, -3, 0)) for each in arrays]
    return views[0] if len(views) == 1 else list(zip(*views, strict=True))


def _product(weight: Array) -> Callable[[Array, Array], object]:
    """What writes the product of `weight` (M, A, B) with (M, B, N) into an array (M, A, N)."""
    return weight.dot if weight.ndim == 2 else partial(matmul, weight)


def _product_of_turned(columns: Array) -> Callable[[Array, Array], object]:
    """The same of a transposed array, for which `np.dot` has other bits than `np.matmul`, unless B is 1."""
    if columns.shape[-1] > 1:
        return partial(matmul, columns)
    return columns.dot if columns.ndim == 2 else partial(multiply, columns)


def _sum_of_products(a: Array, b: Array, out: Array) -> Pass:
    """What writes Σ_t a_t b_tᵀ (M, A, B), of a (M, T, A, N) and b (M, T, B, N), into `out`."""
    if a.shape[-1] == 1:
        return partial(_product_of_turned(a[..., 0].swapaxes(-1, -2)), b[..., 0], out)
    if a.shape[-1] < b.shape[-2]:  # the terms of the sum would take more room than the factors side by side
        return lambda: matmul(_side_by_side(a), _side_by_side(b).swapaxes(-1, -2), out)
    turned = b.swapaxes(-1, -2)
    return lambda: add.reduce(matmul(a, turned), axis=-3, out=out)


def _side_by_side(steps: Array) -> Array:
    """(M, A, T·N) of (M, T, A, N)."""
    return steps.swapaxes(-3, -2).reshape(*steps.shape[:-3], steps.shape[-2], -1)


def _rnn(arrays: _Arrays) -> tuple[Pass, Pass]:
    """h_t = tanh(a_t), a_t = W_ih x_t + b_ih + W_hh h_{t−1} + b_hh (Elman 1990)."""
    weights, grads, room, reads, states, dhs, handed, back = arrays
    h, squares = states[..., 1:, :, :], np.empty_like(room)
    sums_of, back_from = _product(weights["recurrent"]), _product(back)
    da = squares[..., 1:, 1 : 1 + h.shape[-2], :]
    one = np.ones((), h.dtype)
    sum_products = _sum_of_products(da, reads, grads["recurrent"])
    ahead = _steps(reads, h)
    das = _steps(da)
    returning = list(zip(das[1:], das, dhs, strict=False))[::-1]

    def forward() -> None:
        for read, state in ahead:
            sums_of(read, state)
            tanh(state, state)

    def backward() -> None:
        square(room, squares)  # more than h, but all of a piece: that has begun in a third of the time
        subtract(one, squares, squares)
        multiply(das[-1], dhs[-1], das[-1])
        for d_after, d, dh in returning:
            back_from(d_after, handed)
            if handed is not dh:
                add(dh, handed, dh)
            multiply(d, dh, d)
        sum_products()

    return forward, backward


def _gru(arrays: _Arrays) -> tuple[Pass, Pass]:
    """h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t−1}, as `rnn_core.nn.layers` says (Cho et al. 2014)."""
    weights, grads, _, reads, states, dhs, handed, back = arrays
    hidden, width = states.shape[-2], weights["recurrent"].shape[-1]
    before, h = states[..., :-1, :, :], states[..., 1:, :, :]
    own_reads, inputs = reads[..., :width, :], reads[..., width:, :]
    gates, da = np.empty((2, *h.shape[:-2], 4 * hidden, h.shape[-1]), h.dtype)  # n, r, z, and m, the hidden sum of n
    sums = np.empty_like(gates[..., : 3 * hidden, :])  # of the inputs
    n, r, z, m = np.split(gates, 4, axis=-2)
    da_n, da_r, da_z, da_m = np.split(da, 4, axis=-2)
    rz, rzm, da_rz, da_rzm = (
        gates[..., hidden : 3 * hidden, :],
        gates[..., hidden:, :],
        da[..., hidden : 3 * hidden, :],
        da[..., hidden:, :],
    )
    sum_products = _sum_of_products(da_rzm, own_reads, grads["recurrent"])
    sum_input_products = _sum_of_products(da[..., : 3 * hidden, :], inputs, grads["inputs"])
    back_from, scratch, half = _product(back), np.empty_like(handed), np.full((), 0.5, h.dtype)
    halves = np.repeat([1, half, half, 1], hidden).astype(h.dtype)[:, None]  # σ(a) = (1 + tanh(a/2)) / 2
    ahead = _steps(own_reads, rzm, rz, sums[..., hidden:, :], n, sums[..., :hidden, :], r, z, m, before, h)
    das = _steps(da)
    d_gates = [d.reshape(*d.shape[:-2], 4, hidden, -1) for d in das]
    d_states = [dh[..., None, :, :] for dh in dhs]
    returning = list(zip(_steps(da_rzm)[1:], _steps(z)[1:], dhs[1:], d_gates, dhs, d_states, strict=False))[::-1]

    def forward() -> None:
        sums_of = _product(weights["recurrent"] * halves[hidden:])
        matmul((weights["inputs"] * halves[: 3 * hidden])[..., None, :, :], inputs, sums)
        for read, rzm_t, rz_t, rz_sums, n_t, n_sums, r_t, z_t, m_t, state, after in ahead:
            sums_of(read, rzm_t)
            add(rz_t, rz_sums, rz_t)
            tanh(rz_t, rz_t)
            multiply(rz_t, half, rz_t)
            add(rz_t, half, rz_t)
            multiply(r_t, m_t, n_t)
            add(n_t, n_sums, n_t)
            tanh(n_t, n_t)
            subtract(state, n_t, scratch)
            multiply(scratch, z_t, scratch)
            add(scratch, n_t, after)

    def backward() -> None:
        # What dh_t is multiplied by on its way to the sums, with σ′ = (1 − σ) σ and tanh′ = 1 − tanh².
        subtract(1, gates, da)
        multiply(da_z, 1 - square(n), da_n)
        multiply(da_rz, rz, da_rz)
        multiply(da_n, r, da_m)
        multiply(da_r, da_n * m, da_r)
        multiply(da_z, before - n, da_z)
        multiply(d_gates[-1], d_states[-1], d_gates[-1])
        for d_after, z_after, dh_after, d, dh, dh_each in returning:
            multiply(z_after, dh_after, scratch)
            back_from(d_after, handed)
            add(handed, scratch, handed)
            if handed is not dh:
                add(dh, handed, dh)
            multiply(d, dh_each, d)
        sum_products()
        sum_input_products()

    return forward, backward


def _lstm(arrays: _Arrays) -> tuple[Pass, Pass]:
    """c_t = f_t ∘ c_{t−1} + i_t ∘ g_t and h_t = o_t ∘ tanh(c_t), as `rnn_core.nn.layers` says (Gers et al. 2000)."""
    weights, grads, _, reads, states, dhs, handed, back = arrays
    hidden, h = states.shape[-2], states[..., 1:, :, :]
    cells = np.zeros((*states.shape[:-2], 5 * hidden, h.shape[-1]), h.dtype)  # o, i, f, g, and c before the step
    c, cells = cells[..., 1:, 4 * hidden :, :], cells[..., :-1, :, :]
    o, i, f, g, _ = np.split(cells, 5, axis=-2)
    gates, sigmas, i_f, g_c = (cells[..., a * hidden : b * hidden, :] for a, b in ((0, 4), (0, 3), (1, 3), (3, 5)))
    da, tanh_c, to_c = np.empty(gates.shape, h.dtype), np.empty(h.shape, h.dtype), np.empty(h.shape, h.dtype)
    da_o, da_sigmas, da_i_f, da_g, da_ifg = (
        da[..., a * hidden : b * hidden, :] for a, b in ((0, 1), (0, 3), (1, 3), (3, 4), (1, 4))
    )
    sum_products = _sum_of_products(da, reads, grads["recurrent"])
    both, half, dc = np.empty_like(_steps(i_f)[0]), np.full((), 0.5, h.dtype), np.empty_like(handed)
    back_from = _product(back)
    kept, scratch = both[..., :hidden, :], both[..., hidden:, :]
    dc_each = dc[..., None, :, :]
    halves = np.repeat([half, half, half, 1], hidden).astype(h.dtype)[:, None]  # σ(a) = (1 + tanh(a/2)) / 2
    ahead = _steps(reads, gates, sigmas, i_f, g_c, c, tanh_c, o, h)
    d_ifg = [d.reshape(*d.shape[:-2], 3, hidden, -1) for d in _steps(da_ifg)]
    das = [*_steps(da)[1:], None]
    returning = list(zip(das, _steps(da_o), d_ifg, _steps(to_c), _steps(f), dhs, strict=True))[::-1]

    def forward() -> None:
        sums_of = _product(weights["recurrent"] * halves)
        for read, sums, sigmas_t, i_f_t, g_c_t, c_t, tanh_c_t, o_t, state in ahead:
            sums_of(read, sums)
            tanh(sums, sums)
            multiply(sigmas_t, half, sigmas_t)
            add(sigmas_t, half, sigmas_t)
            multiply(i_f_t, g_c_t, both)
            add(kept, scratch, c_t)
            tanh(c_t, tanh_c_t)
            multiply(o_t, tanh_c_t, state)

    def backward() -> None:
        # What dh_t (o) and dc_t (i, f, g) are multiplied by on their way to the sums, with σ′ = (1 − σ) σ and
        # tanh′ = (1 − tanh)(1 + tanh); and dh_t on its way to dc_t.
        subtract(1, gates, da)
        multiply(da_sigmas, sigmas, da_sigmas)
        multiply(da_g, 1 + g, da_g)
        multiply(da_i_f, g_c, da_i_f)
        multiply(da_g, i, da_g)
        multiply(da_o, tanh_c, da_o)
        square(tanh_c, to_c)
        subtract(1, to_c, to_c)
        multiply(to_c, o, to_c)
        dc.fill(0)
        for d_after, d_o, d, to_c_t, f_t, dh in returning:
            if d_after is not None:
                back_from(d_after, handed)
                if handed is not dh:
                    add(dh, handed, dh)
            multiply(dh, to_c_t, scratch)
            add(dc, scratch, dc)
            multiply(d, dc_each, d)
            multiply(d_o, dh, d_o)
            multiply(dc, f_t, dc)
        sum_products()

    return forward, backward


_CELLS = {"rnn_tanh": _rnn, "gru": _gru, "lstm": _lstm}

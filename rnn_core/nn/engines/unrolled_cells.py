"""The cells of unrolled nets: all steps of one recurrent layer, forward and backward.

Each cell is a class. Its constructor makes the arrays and, once, the views of every step; `forward`
and `backward` write into them. The equations are those of `rnn_core.nn.layers`; in the arrays of
sums the gates are in the order of `GATES`.

Axes: M models, T steps, G gates, H hidden units, N sequences. A single model has no axis M.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy import add, matmul, multiply, square, subtract, tanh

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines.unrolled_products import product, steps, sum_of_products

GATES = {"rnn_tanh": "a", "gru": "nrz", "lstm": "oifg"}
"""The order of a cell's gates, by the letters of the equations; `a` is the only sum of an RNN."""


class Arrays(NamedTuple):
    """The arrays that a net shares with its cell, with or without the axis M.

    Attributes:
        weights: the blocks of parameters, named as in `unrolled.layout`.
        grads: the same blocks of the gradient.
        room: (M, T + 1, ·, N) the array that contains `reads` and `h`.
        reads: (M, T, ·, N) all inputs of a step: 1, the previous h, 1 and x.
        h: (M, T + 1, H, N) hidden states, from the initial ones on.
        dh: for each step the gradient (M, H, N) of its hidden state.
        handed: (M, H, N) what a step adds to the gradient of the previous state; the array of `dh`
            itself if that state has no other gradient.
        back: (M, H, G·H) turns the gradient of a step's sums into that of the previous state.
    """

    weights: Params
    grads: Params
    room: Array
    reads: Array
    h: Array
    dh: list[Array]
    handed: Array
    back: Array


class UnrolledCell(Protocol):
    """All steps of a layer, over arrays that are written in place."""

    def forward(self) -> None:
        """Write the hidden states, from `reads`."""
        ...

    def backward(self) -> None:
        """Write the gradients of the parameters, from those of the hidden states."""
        ...


class Blocks(dict[str, Array]):
    """Views of an array (M, T, ·, N) by the letters of its gates: `blocks["rz"]` is r and z.

    A view is made at its first use.
    """

    def __init__(self, array: Array, letters: str) -> None:
        super().__init__()
        self.array = array
        self._letters = letters
        self._hidden = array.shape[-2] // len(letters)

    def __missing__(self, letters: str) -> Array:
        """Return the neighbouring gates of these letters, (M, T, len(letters)·H, N)."""
        start = self._letters.index(letters) * self._hidden
        view = self.array[..., start : start + len(letters) * self._hidden, :]
        self[letters] = view
        return view


def _halves(letters: str, sigmoids: str, hidden: int, like: Array) -> Array:
    """Return ½ for the rows of sigmoids, else 1, (G·H, 1): σ(a) = (1 + tanh(a/2)) / 2."""
    factors = [0.5 if letter in sigmoids else 1.0 for letter in letters]
    return np.repeat(factors, hidden).astype(like.dtype)[:, None]


def _by_gate(step: Array, gates: int) -> Array:
    """View (M, G·H, N) as (M, G, H, N)."""
    return step.reshape(*step.shape[:-2], gates, -1, step.shape[-1])


class Rnn:
    """h_t = tanh(a_t), a_t = W_ih x_t + b_ih + W_hh h_{t−1} + b_hh (Elman 1990)."""

    def __init__(self, arrays: Arrays) -> None:
        hidden = arrays.h.shape[-2]
        after = arrays.h[..., 1:, :, :]
        self._room = arrays.room
        self._squares = np.empty_like(arrays.room)
        da = self._squares[..., 1:, 1 : 1 + hidden, :]
        self._one = np.ones((), after.dtype)
        self._handed = arrays.handed

        self._sums = product(arrays.weights["recurrent"])
        self._hand_back = product(arrays.back)
        self._sum_products = sum_of_products(da, arrays.reads, arrays.grads["recurrent"])

        das = steps(da)
        self._ahead = list(zip(steps(arrays.reads), steps(after), strict=True))
        self._last = das[-1], arrays.dh[-1]
        self._returning = list(zip(das[1:], das[:-1], arrays.dh[:-1], strict=True))[::-1]

    def forward(self) -> None:
        """Write the hidden states."""
        sums = self._sums
        for read, h in self._ahead:
            sums(read, h)
            tanh(h, h)

    def backward(self) -> None:
        """Write the gradients: da_t = (1 − h_t²) ∘ dh_t, and da_t W_hh for the previous step."""
        hand_back = self._hand_back
        handed = self._handed

        # 1 − h² of all steps; of more than h, but one contiguous block takes a third of the time
        square(self._room, self._squares)
        subtract(self._one, self._squares, self._squares)

        da, dh = self._last
        multiply(da, dh, da)
        for da_after, da, dh in self._returning:
            hand_back(da_after, handed)
            if handed is not dh:
                add(dh, handed, dh)
            multiply(da, dh, da)
        self._sum_products()


class Gru:
    """h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t−1}, n_t = tanh(input sum + r_t ∘ m_t) (Cho et al. 2014).

    m is the hidden sum of n; it comes after n, r, z in the arrays of gates (M, T, 4·H, N).
    """

    def __init__(self, arrays: Arrays) -> None:
        hidden = arrays.h.shape[-2]
        width = arrays.weights["recurrent"].shape[-1]
        after = arrays.h[..., 1:, :, :]
        self._before = arrays.h[..., :-1, :, :]
        self._hidden_reads = arrays.reads[..., :width, :]
        self._input_reads = arrays.reads[..., width:, :]
        self._weights = arrays.weights
        self._dh = arrays.dh
        self._handed = arrays.handed
        self._make_arrays(after)
        self._half = np.full((), 0.5, after.dtype)
        self._input_halves = _halves("nrz", "rz", hidden, after)
        self._hidden_halves = _halves("rzm", "rz", hidden, after)

        self._hand_back = product(arrays.back)
        grads = arrays.grads
        self._sum_hidden = sum_of_products(self._da["rzm"], self._hidden_reads, grads["recurrent"])
        self._sum_inputs = sum_of_products(self._da["nrz"], self._input_reads, grads["inputs"])

        self._last = _by_gate(steps(self._da.array)[-1], 4), arrays.dh[-1][..., None, :, :]
        self._ahead = self._forward_views(after)
        self._returning = self._backward_views()

    def _make_arrays(self, after: Array) -> None:
        """Make the arrays of gates and gradients, for hidden states like `after` (M, T, H, N)."""
        shape = (*after.shape[:-2], 4 * after.shape[-2], after.shape[-1])
        gates, da = np.empty((2, *shape), after.dtype)
        self._gates = Blocks(gates, "nrzm")
        self._da = Blocks(da, "nrzm")
        self._input_sums = Blocks(np.empty_like(self._gates["nrz"]), "nrz")
        self._scratch = np.empty_like(self._handed)

    def _forward_views(self, after: Array) -> list[tuple[Array, ...]]:
        gates = self._gates
        input_sums = self._input_sums
        views = (
            self._hidden_reads,
            gates["rzm"],
            gates["rz"],
            input_sums["rz"],
            gates["n"],
            input_sums["n"],
            gates["r"],
            gates["z"],
            gates["m"],
            self._before,
            after,
        )
        return list(zip(*map(steps, views), strict=True))

    def _backward_views(self) -> list[tuple[Array, ...]]:
        das = [_by_gate(da, 4) for da in steps(self._da.array)]
        dhs = [dh[..., None, :, :] for dh in self._dh]  # (M, 1, H, N)
        views = (
            steps(self._da["rzm"])[1:],
            steps(self._gates["z"])[1:],
            self._dh[1:],
            das[:-1],
            self._dh[:-1],
            dhs[:-1],
        )
        return list(zip(*views, strict=True))[::-1]

    def forward(self) -> None:
        """Write gates and hidden states; compute the sums of the inputs for all steps at once."""
        half = self._half
        scratch = self._scratch
        hidden_sums = product(self._weights["recurrent"] * self._hidden_halves)
        input_weights = self._weights["inputs"] * self._input_halves
        matmul(input_weights[..., None, :, :], self._input_reads, self._input_sums.array)

        for read, rzm, rz, input_rz, n, input_n, r, z, m, h_before, h in self._ahead:
            hidden_sums(read, rzm)
            # r and z: σ(a) = (1 + tanh(a/2)) / 2
            add(rz, input_rz, rz)
            tanh(rz, rz)
            multiply(rz, half, rz)
            add(rz, half, rz)
            # n = tanh(input_n + r ∘ m)
            multiply(r, m, n)
            add(n, input_n, n)
            tanh(n, n)
            # h = n + z ∘ (h_before − n)
            subtract(h_before, n, scratch)
            multiply(scratch, z, scratch)
            add(scratch, n, h)

    def backward(self) -> None:
        """Write the gradients, from the last step to the first."""
        hand_back = self._hand_back
        handed = self._handed
        scratch = self._scratch
        self._write_slopes()

        da, dh = self._last
        multiply(da, dh, da)
        for da_after, z_after, dh_after, da, dh, dh_each in self._returning:
            # dh += z_after ∘ dh_after + the gradient that the next step's sums hand back
            multiply(z_after, dh_after, scratch)
            hand_back(da_after, handed)
            add(handed, scratch, handed)
            if handed is not dh:
                add(dh, handed, dh)
            multiply(da, dh_each, da)
        self._sum_hidden()
        self._sum_inputs()

    def _write_slopes(self) -> None:
        """Write the factor that turns dh_t into da_t.

        σ′ = (1 − σ) σ and tanh′ = 1 − tanh².
        """
        gates = self._gates
        da = self._da
        n = gates["n"]
        da_n = da["n"]
        da_r = da["r"]
        da_z = da["z"]
        da_rz = da["rz"]

        subtract(1, gates.array, da.array)
        multiply(da_z, 1 - square(n), da_n)  # (1 − z) (1 − n²)
        multiply(da_rz, gates["rz"], da_rz)  # (1 − r) r and (1 − z) z
        multiply(da_n, gates["r"], da["m"])  # da_n r
        multiply(da_r, da_n * gates["m"], da_r)  # da_n m (1 − r) r
        multiply(da_z, self._before - n, da_z)  # (h_before − n) (1 − z) z


class Lstm:
    """c_t = f_t ∘ c_{t−1} + i_t ∘ g_t and h_t = o_t ∘ tanh(c_t) (Gers et al. 2000).

    The previous c comes after the gates o, i, f, g in the array of cells (M, T, 5·H, N).
    """

    def __init__(self, arrays: Arrays) -> None:
        after = arrays.h[..., 1:, :, :]
        self._weights = arrays.weights
        self._dh = arrays.dh
        self._handed = arrays.handed
        self._make_gates(arrays.h)
        self._make_gradients(after)
        self._half = np.full((), 0.5, after.dtype)
        self._halves = _halves("oifg", "oif", after.shape[-2], after)

        self._hand_back = product(arrays.back)
        self._sum_products = sum_of_products(
            self._da.array, arrays.reads, arrays.grads["recurrent"]
        )

        self._ahead = self._forward_views(arrays.reads, after)
        self._returning = self._backward_views()

    def _make_gates(self, h: Array) -> None:
        """Make the arrays of gates and cells, for hidden states `h` (M, T + 1, H, N)."""
        shape = (*h.shape[:-2], 5 * h.shape[-2], h.shape[-1])
        cells = np.zeros(shape, h.dtype)  # one step more than the gates: c after the last step
        self._cells = Blocks(cells[..., :-1, :, :], "oifgc")
        self._gates = self._cells["oifg"]
        self._c = Blocks(cells[..., 1:, :, :], "oifgc")["c"]  # after the step
        self._products = np.empty_like(steps(self._cells["if"])[0])
        self._i_g, self._f_c = np.split(self._products, 2, axis=-2)

    def _make_gradients(self, after: Array) -> None:
        """Make the arrays of the backward pass, for hidden states like `after` (M, T, H, N)."""
        self._tanh_c = np.empty(after.shape, after.dtype)
        self._da = Blocks(np.empty(self._gates.shape, after.dtype), "oifg")
        self._to_c = np.empty(after.shape, after.dtype)
        self._dc = np.empty_like(self._handed)
        self._dc_each = self._dc[..., None, :, :]  # (M, 1, H, N)

    def _forward_views(self, reads: Array, after: Array) -> list[tuple[Array, ...]]:
        views = (
            reads,
            self._gates,
            self._cells["oif"],
            self._cells["if"],
            self._cells["gc"],
            self._c,
            self._tanh_c,
            self._cells["o"],
            after,
        )
        return list(zip(*map(steps, views), strict=True))

    def _backward_views(self) -> list[tuple[Array | None, Array, Array, Array, Array, Array]]:
        da = self._da
        das_after: list[Array | None] = [*steps(da.array)[1:], None]
        views = zip(
            das_after,
            steps(da["o"]),
            [_by_gate(da_ifg, 3) for da_ifg in steps(da["ifg"])],
            steps(self._to_c),
            steps(self._cells["f"]),
            self._dh,
            strict=True,
        )
        return list(views)[::-1]

    def forward(self) -> None:
        """Write gates, cells and hidden states."""
        half = self._half
        products = self._products
        i_g = self._i_g
        f_c = self._f_c
        sums = product(self._weights["recurrent"] * self._halves)

        for read, gates, sigmoids, i_f, g_c, c, tanh_c, o, h in self._ahead:
            sums(read, gates)
            # σ(a) = (1 + tanh(a/2)) / 2 of o, i and f; tanh of g
            tanh(gates, gates)
            multiply(sigmoids, half, sigmoids)
            add(sigmoids, half, sigmoids)
            # c = i ∘ g + f ∘ c_before
            multiply(i_f, g_c, products)
            add(i_g, f_c, c)
            # h = o ∘ tanh(c)
            tanh(c, tanh_c)
            multiply(o, tanh_c, h)

    def backward(self) -> None:
        """Write the gradients, from the last step to the first."""
        hand_back = self._hand_back
        handed = self._handed
        dc = self._dc
        dc_each = self._dc_each
        scratch = self._f_c
        self._write_slopes()

        dc.fill(0)
        for da_after, da_o, da_ifg, to_c, f, dh in self._returning:
            if da_after is not None:
                hand_back(da_after, handed)
                if handed is not dh:
                    add(dh, handed, dh)
            # dc = dc_after ∘ f_after + dh ∘ o ∘ tanh′(c)
            multiply(dh, to_c, scratch)
            add(dc, scratch, dc)
            multiply(da_ifg, dc_each, da_ifg)
            multiply(da_o, dh, da_o)
            multiply(dc, f, dc)
        self._sum_products()

    def _write_slopes(self) -> None:
        """Write the factors that turn dh_t (for o) and dc_t (for i, f, g) into da_t.

        `to_c` gets the factor that turns dh_t into its share of dc_t.
        σ′ = (1 − σ) σ and tanh′ = (1 − tanh)(1 + tanh).
        """
        cells = self._cells
        da = self._da
        da_sigmoids = da["oif"]
        da_i_f = da["if"]
        da_g = da["g"]
        da_o = da["o"]

        subtract(1, self._gates, da.array)
        multiply(da_sigmoids, cells["oif"], da_sigmoids)
        multiply(da_g, 1 + cells["g"], da_g)
        multiply(da_i_f, cells["gc"], da_i_f)  # g i′ and c_before f′
        multiply(da_g, cells["i"], da_g)  # i g′
        multiply(da_o, self._tanh_c, da_o)  # tanh(c) o′

        square(self._tanh_c, self._to_c)
        subtract(1, self._to_c, self._to_c)
        multiply(self._to_c, cells["o"], self._to_c)  # o tanh′(c)


CELLS: dict[str, Callable[[Arrays], UnrolledCell]] = {"rnn_tanh": Rnn, "gru": Gru, "lstm": Lstm}

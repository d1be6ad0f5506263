"""How arrays lie inside the layers: time first, gates before models; padding as a mask, states as lists."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from rnn_core.nn.arrays import Array

State: TypeAlias = Array | tuple[Array, Array]
"""`h_n` (M, D·num_layers, N, H), layer-major; of an LSTM the pair `(h_n, c_n)`."""


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


def _parts(state: State) -> list[Array]:
    return list(state) if isinstance(state, tuple) else [state]


def _state(layers: list[list[Array]]) -> State:
    """The states (M, D, N, H) of the layers as one."""
    hidden, *cells = (np.concatenate(part, axis=1) for part in zip(*layers, strict=True))
    return (hidden, cells[0]) if cells else hidden


def _stack(states: list[list[Array]]) -> list[Array]:
    """The states (M, N, H) of the directions as (M, D, N, H)."""
    return [np.stack(part, axis=1) for part in zip(*states, strict=True)]


def _by_gate(weight: Array, gates: int) -> Array:
    """(M, G·H, ...) as (G, M, H, ...)."""
    return weight.reshape(len(weight), gates, -1, *weight.shape[2:]).swapaxes(0, 1)


def _all_gates(weight: Array) -> Array:
    """(G, M, H, ...) as (M, G·H, ...)."""
    return weight.swapaxes(0, 1).reshape(weight.shape[1], -1, *weight.shape[3:])


def _rows(a: Array) -> Array:
    """All steps of a model as the rows of one matrix: (T, ..., M, N, H) as (..., M, T·N, H)."""
    first = range(1, a.ndim - 2)  # np.moveaxis takes longer than a small product
    return a.transpose(*first, 0, a.ndim - 2, a.ndim - 1).reshape(*a.shape[1:-2], -1, a.shape[-1])


def _sum_rows(a: Array) -> Array:
    """Sum over the last axis but one, as a product: BLAS is many times faster at it than `sum`."""
    total: Array = np.matmul(np.ones((1, a.shape[-2]), a.dtype), a)[..., 0, :]
    return total

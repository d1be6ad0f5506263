"""How arrays lie inside the layers: time first, gates before models, padding as a mask."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from rnn_core.nn.arrays import Array

State: TypeAlias = Array | tuple[Array, Array]
"""`h_n` (M, D·num_layers, N, H), layer-major; of an LSTM the pair `(h_n, c_n)`."""

StateParts: TypeAlias = list[Array]
"""A state inside the layers: `[h]`, of an LSTM `[h, c]`."""


def time_first(x: Array) -> Array:
    """Return (M, N, T, I) as (T, M, N, I)."""
    return x.transpose(2, 0, 1, 3)


def time_third(y: Array) -> Array:
    """Return (T, M, N, H) as (M, N, T, H)."""
    return y.transpose(1, 2, 0, 3)


def padding_mask(lengths: Array | Sequence[int], seq_len: int) -> Array:
    """Return (T, 1 or M, N, 1) True where a sequence is over, from `lengths` (N,) or (M, N)."""
    steps = np.arange(seq_len)[:, None, None, None]
    return steps >= np.atleast_2d(lengths)[..., None]


def zero_padding(x: Array, padding: Array | None) -> Array:
    """Return x (T, ..., M, N, H) with zeros at the padding, whatever it holds there."""
    if padding is None:
        return x
    return np.where(padding if x.ndim == 4 else padding[:, None], 0, x)


def split_state(state: State) -> StateParts:
    """Return a state as a list of its arrays."""
    return list(state) if isinstance(state, tuple) else [state]


def join_layers(layers: list[StateParts]) -> State:
    """Return the states (M, D, N, H) of the layers as one, (M, D·num_layers, N, H)."""
    hidden, *cells = (np.concatenate(part, axis=1) for part in zip(*layers, strict=True))
    return (hidden, cells[0]) if cells else hidden


def stack_directions(states: list[StateParts]) -> StateParts:
    """Return the states (M, N, H) of the directions as one, (M, D, N, H)."""
    return [np.stack(part, axis=1) for part in zip(*states, strict=True)]


def split_gates(weight: Array, gates: int) -> Array:
    """Return (M, G·H, ...) as (G, M, H, ...)."""
    return weight.reshape(len(weight), gates, -1, *weight.shape[2:]).swapaxes(0, 1)


def join_gates(weight: Array) -> Array:
    """Return (G, M, H, ...) as (M, G·H, ...)."""
    return weight.swapaxes(0, 1).reshape(weight.shape[1], -1, *weight.shape[3:])


def join_steps(a: Array) -> Array:
    """Return (T, ..., M, N, H) as (..., M, T·N, H): all steps of a model are rows of one matrix."""
    between = range(1, a.ndim - 2)  # np.moveaxis takes longer than a small product
    by_model = a.transpose(*between, 0, a.ndim - 2, a.ndim - 1)
    return by_model.reshape(*a.shape[1:-2], -1, a.shape[-1])


def sum_rows(a: Array) -> Array:
    """Return the sum over the last axis but one, as a product: BLAS is many times faster at it."""
    ones = np.ones((1, a.shape[-2]), a.dtype)
    total: Array = np.matmul(ones, a)[..., 0, :]
    return total

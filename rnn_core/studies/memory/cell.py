"""An LSTM one step at a time: its states, its gates, and the units that follow a bit."""

from typing import NamedTuple

import numpy as np

from rnn_core.errors import ArrayError
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import recurrent
from rnn_core.nn.losses import sigmoid
from rnn_core.nn.network import split
from rnn_core.studies.study import Trained

STEPS = 10
INPUTS = 4
HIDDEN = 8
KEPT = 0.9  # a unit keeps the bit from the step on where its correlation stays at this or above


def recurrent_params(trained: Trained) -> Params:
    """Return the parameters of the recurrent layers, by torch's names."""
    return split(trained.fit.params)[""]


class Walk(NamedTuple):
    """The way of an LSTM through N sequences.

    Attributes:
        hidden: (N, T, H) hidden state after each step.
        cell: (N, T, H) cell state after each step.
        gates: i, f, g and o (N, T, H) by name.
    """

    hidden: Array
    cell: Array
    gates: dict[str, Array]


def step_by_step(params: Params, x: Array) -> Walk:
    """Read x (N, T, I) one step at a time, each from the states that the previous one returned."""
    h: Array | None = None
    c: Array | None = None
    hidden = []
    cell = []
    for step in np.split(x[None], x.shape[1], axis=2):  # (1, N, 1, I)
        _, (h, c), _ = recurrent(params, step, cell="lstm", h0=h, c0=c)
        hidden.append(h[0, 0])
        cell.append(c[0, 0])
    states = np.stack(hidden, axis=1)
    return Walk(states, np.stack(cell, axis=1), _gates(params, x, _before(states)))


def _before(states: Array) -> Array:
    """Return the states before each step, given those after it (N, T, H); the first are zeros."""
    return np.concatenate([np.zeros_like(states[:, :1]), states[:, :-1]], axis=1)


def _gates(params: Params, x: Array, h_before: Array) -> dict[str, Array]:
    """Return the input (i), forget (f) and output (o) gates and the candidate (g), all (N, T, H).

    Hochreiter and Schmidhuber 1997; the forget gate is by Gers, Schmidhuber and Cummins 2000.
    """
    weight_ih = params["weight_ih_l0"][0]
    weight_hh = params["weight_hh_l0"][0]
    bias_ih = params["bias_ih_l0"][0]
    bias_hh = params["bias_hh_l0"][0]
    sums = x @ weight_ih.T + h_before @ weight_hh.T + bias_ih + bias_hh
    i, f, g, o = np.split(sums, 4, axis=-1)
    return {"i": sigmoid(i), "f": sigmoid(f), "g": np.tanh(g), "o": sigmoid(o)}


def difference_from_the_whole(walk: Walk, params: Params, x: Array) -> float:
    """Return how far the steps differ from a single pass over x (N, T, I), and from the equations.

    The equations are c = f·c + i·g and h = o·tanh(c).
    """
    output, (h_n, c_n), _ = recurrent(params, x[None], cell="lstm")
    i, f, g, o = walk.gates.values()
    pairs = (
        (walk.hidden, output[0]),
        (walk.hidden[:, -1], h_n[0, 0]),
        (walk.cell[:, -1], c_n[0, 0]),
        (walk.cell, f * _before(walk.cell) + i * g),
        (walk.hidden, o * np.tanh(walk.cell)),
    )
    return max(float(np.abs(left - right).max()) for left, right in pairs)


class Memory(NamedTuple):
    """How the cell states follow the bit.

    Attributes:
        correlation: (T, H) magnitude of each unit's correlation with the bit.
        unit: the one that follows it best at the last step.
        last: its correlation there.
        since: the step, counted from 1, from which on it has kept the bit; None if it has not.
    """

    correlation: Array
    unit: int
    last: float
    since: int | None


def memory_of(walk: Walk, bit: Array) -> Memory:
    """Measure how the cell states of each unit follow the bit (N,)."""
    correlation = np.stack([_correlation(states, bit) for states in walk.cell.swapaxes(0, 1)])
    unit = int(correlation[-1].argmax())
    lost = np.flatnonzero(correlation[:, unit] < KEPT)
    since = int(lost[-1]) + 2 if len(lost) else 1
    kept = since <= len(correlation)
    return Memory(correlation, unit, float(correlation[-1, unit]), since if kept else None)


def _correlation(states: Array, bit: Array) -> Array:
    """Return |Pearson's correlation| (H,) of states (N, H) with the bit (N,); 0 if constant."""
    centred = states - states.mean(axis=0)
    signs = bit - bit.mean()
    scale = np.sqrt((centred**2).sum(axis=0) * (signs**2).sum())
    return np.asarray(np.abs(signs @ centred) / np.where(scale > 0, scale, 1))


def refusal() -> str | None:
    """Return the error about an input that was never filled, or None if it is accepted."""
    params = {
        "weight_ih_l0": np.zeros((1, 4 * HIDDEN, INPUTS)),
        "weight_hh_l0": np.zeros((1, 4 * HIDDEN, HIDDEN)),
    }
    try:
        recurrent(params, np.full((1, 1, STEPS, INPUTS), np.nan), cell="lstm")
    except ArrayError as error:
        return str(error)
    return None

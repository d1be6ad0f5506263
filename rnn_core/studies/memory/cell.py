"""An LSTM a step at a time: its states, its gates and what follows a bit."""

from typing import NamedTuple

import numpy as np

from rnn_core.errors import ArrayError
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import recurrent
from rnn_core.nn.losses import sigmoid
from rnn_core.nn.network import split
from rnn_core.studies.study import (
    Trained,
)

STEPS = 10
INPUTS = 4
HIDDEN = 8
KEPT = 0.9  # a correlation from which on a unit is said to keep the bit


def recurrent_params(one: Trained) -> Params:
    """Return the parameters of the recurrent layers, by torch's names."""
    return split(one.fit.params)[""]


class Walk(NamedTuple):
    """An LSTM on its way through N sequences: states after each step and the gates in it, all (N, T, H)."""

    hidden: Array
    cell: Array
    gates: dict[str, Array]  # i, f, g and o


def step_by_step(params: Params, x: Array) -> Walk:
    """Read x (N, T, I) one step at a time, each from the states that the step before has left."""
    h: Array | None = None
    c: Array | None = None
    hidden, cell = [], []
    for step in np.split(x[None], x.shape[1], axis=2):  # (1, N, 1, I)
        _, state, _ = recurrent(params, step, cell="lstm", h0=h, c0=c)
        h, c = state
        hidden.append(h[0, 0])
        cell.append(c[0, 0])
    walked = np.stack(hidden, axis=1)
    return Walk(walked, np.stack(cell, axis=1), _gates(params, x, _before(walked)))


def _before(states: Array) -> Array:
    """The states (N, T, H) before each step, which begin with zeros."""
    return np.concatenate([np.zeros_like(states[:, :1]), states[:, :-1]], axis=1)


def _gates(params: Params, x: Array, h_before: Array) -> dict[str, Array]:
    """What lets in (i), forgets (f), is offered (g) and is let out (o): Hochreiter and Schmidhuber 1997, Gers 2000."""
    weight_ih, weight_hh, bias_ih, bias_hh = (
        params[f"{name}_l0"][0] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    i, f, g, o = np.split(x @ weight_ih.T + h_before @ weight_hh.T + bias_ih + bias_hh, 4, axis=-1)
    return {"i": sigmoid(i), "f": sigmoid(f), "g": np.tanh(g), "o": sigmoid(o)}


def difference_from_the_whole(walk: Walk, params: Params, x: Array) -> float:
    """The largest difference of the steps from the whole pass and from c = f·c + i·g, h = o·tanh(c)."""
    output, state, _ = recurrent(params, x[None], cell="lstm")
    i, f, g, o = walk.gates.values()
    pairs = (
        (walk.hidden, output[0]),
        (walk.hidden[:, -1], state[0][0, 0]),
        (walk.cell[:, -1], state[1][0, 0]),
        (walk.cell, f * _before(walk.cell) + i * g),
        (walk.hidden, o * np.tanh(walk.cell)),
    )
    return max(float(np.abs(left - right).max()) for left, right in pairs)


class Memory(NamedTuple):
    """How the cell states follow the bit."""

    correlation: Array  # (T, H), its magnitude
    unit: int  # the one that follows best at the last step
    last: float  # its correlation there
    since: int | None  # the step, from 1, since which it has kept the bit; None if it has not


def memory_of(walk: Walk, bit: Array) -> Memory:
    """Measure how the cell states of each unit follow the bit (N,)."""
    correlation = np.stack([_correlation(step, bit) for step in walk.cell.swapaxes(0, 1)])
    unit = int(correlation[-1].argmax())
    lost = np.flatnonzero(correlation[:, unit] < KEPT)
    since = int(lost[-1]) + 2 if len(lost) else 1
    return Memory(
        correlation,
        unit,
        float(correlation[-1, unit]),
        since if since <= len(correlation) else None,
    )


def _correlation(states: Array, bit: Array) -> Array:
    """|Pearson's correlation| of each unit's states (N, H) with the bit (N,); 0 for a unit that does not vary."""
    centred, signs = states - states.mean(axis=0), bit - bit.mean()
    scale = np.sqrt((centred**2).sum(axis=0) * (signs**2).sum())
    return np.asarray(np.abs(signs @ centred) / np.where(scale > 0, scale, 1))


def refusal() -> str | None:
    """What is said of an input that was never filled; None if it is taken."""
    params = {
        name: np.zeros((1, 4 * HIDDEN, size))
        for name, size in (("weight_ih_l0", INPUTS), ("weight_hh_l0", HIDDEN))
    }
    try:
        recurrent(params, np.full((1, 1, STEPS, INPUTS), np.nan), cell="lstm")
    except ArrayError as error:
        return str(error)
    return None

"""Stacked recurrent layers, as torch runs them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from rnn_core.nn.arrays import Array, Params, check_array
from rnn_core.nn.layers.axes import State, _padding, _parts, _state, _time_first, _time_third, _without
from rnn_core.nn.layers.checks import _check_d_state, _check_dropout, _check_initial, _check_inputs, _check_params
from rnn_core.nn.layers.direction import _layer
from rnn_core.nn.layers.feedforward import _drop


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


def _initial_states(given: list[Array | None], params: Params, x: Array, places: int) -> list[Array]:
    shape = (len(x), places, x.shape[1], params["weight_hh_l0"].shape[-1])  # (M, D·num_layers, N, H)
    return [np.zeros(shape, x.dtype) if state is None else state for state in given]

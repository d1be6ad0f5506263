"""Stacked recurrent layers, as torch runs them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers.axes import (
    State,
    StateParts,
    join_layers,
    padding_mask,
    split_state,
    time_first,
    time_third,
    zero_padding,
)
from rnn_core.nn.layers.checks import check_arguments, check_gradients
from rnn_core.nn.layers.direction import run_layer
from rnn_core.nn.layers.feedforward import drop


class RecurrentBackward(Protocol):
    """The backward pass of `recurrent`."""

    def __call__(
        self, d_output: Array | None, d_state: State | None = None
    ) -> tuple[Params, Array, State]:
        """Return the gradients `(grads, dx, d_initial)`; see `recurrent`."""
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
    """Run stacked recurrent layers as `torch.nn.RNN`, `GRU` and `LSTM` do with `batch_first=True`.

    The equations are in `rnn_core.nn.layers.cells`, at `rnn`, `gru` and `lstm`.

    Args:
        params: arrays by torch's names, each with a leading M: `weight_ih_l{k}` (M, G·H, I; above
            the first layer D·H), `weight_hh_l{k}` (M, G·H, H) and, unless the layers have no
            biases, `bias_ih_l{k}` and `bias_hh_l{k}` (M, G·H). Those of the reverse direction end
            in `_reverse`. Gates are stacked i, f, g, o in an LSTM and r, z, n in a GRU. `rnn_prelu`
            also has `slope_l{k}` (M,) or (M, 1), one for each layer and direction.
        x: (M, N, T, I), float32 or float64.
        cell: one of `GATES`.
        num_layers: layers, each reading the outputs of the one below.
        bidirectional: every layer also reads backwards, from the last valid step.
        lengths: valid steps of each sequence, (N,) or (M, N), in any order; what x holds beyond
            them has no influence.
        h0: initial hidden states (M, D·num_layers, N, H), zero if None.
        c0: initial cell states of an LSTM, like `h0`.
        dropout: probability that an element of a layer's output does not reach the next layer.
        rng: one Generator for each model, needed for dropout.

    Returns:
        output: hidden states of the top layer (M, N, T, D·H), forward then reverse; zero beyond a
            length.
        state: states of every layer and direction after their last valid step.
        backward: `backward(d_output, d_state=None)` returns `(grads, dx, d_initial)`. `d_output` is
            shaped as `output` and ignored beyond a length, `d_state` as `state`; None is zero.
            `grads` has the names and shapes of `params`, `dx` that of `x` and `d_initial` that of
            `state`, with or without given initial states.

    Raises:
        ArrayError: an array of another shape, type or content than described.
        ConfigError: an unknown cell, fewer than one layer, or dropout outside [0, 1).

    >>> rng = np.random.default_rng(0)
    >>> weight_ih = rng.normal(size=(3, 16, 2))  # three LSTMs of four units on two inputs
    >>> weight_hh = rng.normal(size=(3, 16, 4))
    >>> x = rng.normal(size=(3, 5, 7, 2))  # five sequences of seven steps for each
    >>> params = {"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh}
    >>> output, (h_n, c_n), backward = recurrent(params, x, cell="lstm")
    >>> output.shape, h_n.shape
    ((3, 5, 7, 4), (3, 1, 5, 4))
    >>> grads, dx, (dh0, dc0) = backward(np.ones_like(output))
    >>> grads["weight_hh_l0"].shape, dx.shape, dh0.shape
    ((3, 16, 4), (3, 5, 7, 2), (3, 1, 5, 4))
    """
    check_arguments(params, x, cell, num_layers, bidirectional, lengths, h0, c0, dropout, rng)
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

    def backward(
        d_output: Array | None, d_state: State | None = None
    ) -> tuple[Params, Array, State]:
        check_gradients(d_output, d_state, output, state)
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
    """Run `recurrent` without its checks, for a caller that made the arrays itself."""
    directions = ("", "_reverse") if bidirectional else ("",)
    depth = len(directions)
    spans = [slice(layer * depth, (layer + 1) * depth) for layer in range(num_layers)]
    padding = None if lengths is None else padding_mask(lengths, x.shape[2])
    given = [h0, c0] if cell == "lstm" else [h0]
    initial = _initial_states(given, params, x, num_layers * depth)

    y = zero_padding(time_first(x), padding)
    finals, backwards = [], []
    for layer, span in enumerate(spans):
        y, drop_backward = drop(y, dropout if layer > 0 else 0.0, rng, axis=1)
        suffixes = [f"l{layer}{direction}" for direction in directions]
        start = _of_layer(initial, span)
        y, final, layer_backward = run_layer(cell, params, y, start, suffixes, padding)
        finals.append(final)
        backwards.append((layer_backward, drop_backward))

    def backward(
        d_output: Array | None, d_state: State | None = None
    ) -> tuple[Params, Array, State]:
        dy = np.zeros_like(y) if d_output is None else zero_padding(time_first(d_output), padding)
        d_final = _zeros_like(initial) if d_state is None else split_state(d_state)
        grads: Params = {}
        d_initials = []
        for span, (layer_backward, drop_backward) in zip(spans[::-1], backwards[::-1], strict=True):
            layer_grads, dy, d_initial = layer_backward(dy, _of_layer(d_final, span))
            dy = drop_backward(dy)
            grads |= layer_grads
            d_initials.append(d_initial)
        in_order = {name: grads[name] for name in params}
        return in_order, time_third(dy), join_layers(d_initials[::-1])

    return time_third(y), join_layers(finals), backward


def _initial_states(given: list[Array | None], params: Params, x: Array, count: int) -> StateParts:
    """Return the given states, or zeros: (M, D·num_layers, N, H)."""
    hidden_size = params["weight_hh_l0"].shape[-1]
    shape = (len(x), count, x.shape[1], hidden_size)
    return [np.zeros(shape, x.dtype) if state is None else state for state in given]


def _of_layer(states: StateParts, span: slice) -> StateParts:
    return [state[:, span] for state in states]


def _zeros_like(states: StateParts) -> StateParts:
    return [np.zeros_like(state) for state in states]

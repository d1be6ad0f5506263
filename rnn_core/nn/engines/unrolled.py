"""One recurrent layer under a linear head, unrolled over time in arrays that are made once.

It covers rnn_tanh, gru and lstm, of one layer, in one direction, and computes what
`rnn_core.nn.network` does, from the same equations, in a fraction of the calls: in small batches
the calls take most of the time. All inputs of a step are in one matrix, so one
product gives its sums, and one the gradients of all weights.

Axes: M models, T steps, N sequences, I inputs, H hidden units, G gates, S steps that are read out,
O outputs. Sequences come last, so the results of a step for a model are one contiguous block. A
single model has no axis M; see `unrolled_products`.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from rnn_core.nn.arrays import Array, Params, unflatten
from rnn_core.nn.engines import Inputs
from rnn_core.nn.engines.unrolled_cells import CELLS, GATES, Arrays
from rnn_core.nn.engines.unrolled_products import (
    product,
    product_of_turned,
    steps,
    sum_of_products,
)
from rnn_core.nn.settings import Model, Training

Net: TypeAlias = Callable[[Array, Array | None], tuple[Array, Callable[[Array], Array]]]
"""From x (M, N, T, I) and lengths (M, N) to logits (M, N, S, O) and, from their gradient, that of
all parameters."""

TORCH_GATES = {"rnn_tanh": "a", "gru": "rzn", "lstm": "ifgo"}


def covers(model: Model, training: Training, inputs: Inputs) -> bool:
    """Return whether a net can be unrolled, if its arrays are as the compiled kernel wants them."""
    return (
        model.cell in TORCH_GATES
        and model.num_layers == 1
        and not model.bidirectional
        and model.head == "linear"
        and inputs.lengths is None
        and training.truncate is None
    )


def layout(model: Model, places: Params) -> Params:
    """Return the blocks of parameters, from the `places` of the parameters by torch's names.

    `head` is (O, 1 + H), the bias before the weights. `recurrent` is (G·H, 1 + H + 1 + I): the
    factors of 1, the previous hidden state, 1 and the inputs. A GRU needs the two sums apart:
    `recurrent` (3·H, 1 + H) in torch's order of the gates, and `inputs` (3·H, 1 + I). Without
    biases the ones are left out.
    """
    cell = model.cell
    head = np.column_stack([places["head.bias"], places["head.weight"]])
    inputs = _with_bias(places, "ih", TORCH_GATES[cell], GATES[cell])
    if cell == "gru":
        hidden = _with_bias(places, "hh", TORCH_GATES[cell], TORCH_GATES[cell])
        return {"recurrent": hidden, "inputs": inputs, "head": head}
    hidden = _with_bias(places, "hh", TORCH_GATES[cell], GATES[cell])
    return {"recurrent": np.concatenate([hidden, inputs], axis=1), "head": head}


def _with_bias(places: Params, side: str, gates: str, wanted: str) -> Array:
    """Return the bias (if any) and weight of one side in one array, the gates as `wanted`."""
    names = (f"bias_{side}_l0", f"weight_{side}_l0")
    rows = np.column_stack([places[name] for name in names if name in places])
    by_gate = rows.reshape(len(gates), -1, rows.shape[1])
    return by_gate[[gates.index(gate) for gate in wanted]].reshape(rows.shape)


class _Room(NamedTuple):
    """The arrays of a net, which every call overwrites."""

    reads: Array  # (M, T + 1, 1 + H + bias + I, N): 1, previous h, 1 if there are biases, x
    logits: Array  # (M, S, O, N)
    d_logits: Array  # (M, S, O, N)
    d_hidden: Array  # (M, S, H, N)
    grads: Array  # (M, P)


class Unrolled:
    """A net of one size whose parameters are a given array.

    The next call overwrites what a call returned.
    """

    def __init__(
        self,
        model: Model,
        flat: Array,
        blocks: dict[str, tuple[int, ...]],
        shape: tuple[int, ...],
    ) -> None:
        """Make the net whose parameters `flat` (M, P) hold the `blocks`.

        It takes x of `shape` (M, N, T, I); all steps are valid.
        """
        room = _make_room(model, flat, blocks, shape)
        first_input = 1 + model.hidden_size + int(model.bias)
        self._grads = room.grads
        self._x = _sequences_first(room.reads[:, :-1, first_input:])
        self._logits_outside = _sequences_first(room.logits)
        self._d_logits_outside = _sequences_first(room.d_logits)

        weights = unflatten(flat, blocks)
        grads = unflatten(room.grads, blocks)
        if len(flat) == 1:
            room = _Room(*(array[0] for array in room))
            weights = {name: block[0] for name, block in weights.items()}
            grads = {name: block[0] for name, block in grads.items()}

        arrays = _arrays_of_cell(model, weights, grads, room, seq_len=shape[2])
        self._cell = CELLS[model.cell](arrays)
        self._back = arrays.back
        self._recurrent = _turned_recurrent(model, weights)
        self._connect_head(weights["head"], grads["head"], room, model.hidden_size)

    def _connect_head(self, head: Array, d_head: Array, room: _Room, hidden: int) -> None:
        """Make the views and the products of the head."""
        steps_read = room.logits.shape[-3]
        read = room.reads[..., -steps_read:, : 1 + hidden, :]
        self._sum_head_products = sum_of_products(room.d_logits, read, d_head)
        if steps_read == 1:
            self._read = read[..., 0, :, :]
            self._logits = room.logits[..., 0, :, :]
            self._d_logits = room.d_logits[..., 0, :, :]
            self._d_hidden = room.d_hidden[..., 0, :, :]
        else:
            self._read = read
            self._logits = room.logits
            self._d_logits = room.d_logits
            self._d_hidden = room.d_hidden
            head = head[..., None, :, :]
        self._head_product = product(head)
        self._back_from_head = product_of_turned(head[..., 1:].swapaxes(-1, -2))

    def __call__(self, x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array], Array]]:
        """Return the logits (M, N, S, O) of x (M, N, T, I), and their backward pass."""
        self._x[...] = x
        self._cell.forward()
        self._head_product(self._read, self._logits)
        return self._logits_outside, self._backward

    def _backward(self, dlogits: Array) -> Array:
        """Return the gradient (M, P), from that of the logits (M, N, S, O)."""
        self._d_logits_outside[...] = dlogits
        self._sum_head_products()
        self._back_from_head(self._d_logits, self._d_hidden)
        self._back[...] = self._recurrent
        self._cell.backward()
        return self._grads


def _sequences_first(array: Array) -> Array:
    """View (M, T, ·, N) as (M, N, T, ·)."""
    return array.transpose(0, 3, 1, 2)


def _make_room(
    model: Model, flat: Array, blocks: dict[str, tuple[int, ...]], shape: tuple[int, ...]
) -> _Room:
    models, rows, seq_len, input_size = shape
    hidden = model.hidden_size
    width = 1 + hidden + int(model.bias) + input_size
    outputs = blocks["head"][0]
    steps_read = seq_len if model.readout == "steps" else 1

    reads = np.ones((models, seq_len + 1, width, rows), flat.dtype)
    reads[:, 0, 1 : 1 + hidden] = 0
    logits, d_logits = np.empty((2, models, steps_read, outputs, rows), flat.dtype)
    d_hidden = np.empty((models, steps_read, hidden, rows), flat.dtype)
    return _Room(reads, logits, d_logits, d_hidden, np.empty_like(flat))


def _turned_recurrent(model: Model, weights: Params) -> Array:
    """View W_hh (M, G·H, H), a part of a block, as (M, H, G·H)."""
    bias = int(model.bias)
    return weights["recurrent"][..., bias : bias + model.hidden_size].swapaxes(-1, -2)


def _arrays_of_cell(
    model: Model, weights: Params, grads: Params, room: _Room, seq_len: int
) -> Arrays:
    reads = room.reads
    dh = steps(room.d_hidden)
    handed = np.empty_like(dh[0])
    if len(dh) < seq_len:
        # Only the last state is read, so only its gradient comes from the head: all steps share
        # one array, which each step overwrites with the gradient of the state before it.
        handed = dh[0]
        dh = [handed] * seq_len
    return Arrays(
        weights=weights,
        grads=grads,
        room=reads,
        reads=reads[..., :-1, 1 - int(model.bias) :, :],
        h=reads[..., 1 : 1 + model.hidden_size, :],
        dh=dh,
        handed=handed,
        back=np.empty(_turned_recurrent(model, weights).shape, reads.dtype),
    )

"""Recurrent layers, the linear layer, dropout and activations, each with its backward pass by hand.

A layer is a function that returns its result and the function that carries a gradient back through
it: `y, backward = layer(params, x)`. The closure holds the activations and refers to the given
arrays: `backward` may be called any number of times, as long as those are not overwritten.

Axes: M models, N sequences, T steps, I input_size, H hidden_size, G gates of a cell, D directions.
Models never mix: each takes the same operations, to the same bits, in any stack.

Inside, time comes first: x is (T, M, N, I), gates are (T, G, M, N, H), and each step, and each gate
of it, is one contiguous block. The loops over time hold nothing except the recurrence. What does
not recur is computed for all steps at once: the projection of the inputs, the derivatives that
depend on activations alone, the gradients of the weights.

A sequence that is over keeps its state. So the last state is that of the last valid step; and the
reverse direction, which meets the padding first, reaches the last valid step with its initial
state.
"""

from rnn_core.nn.layers.activations import Elementwise, prelu, relu, sigmoid, softmax, tanh
from rnn_core.nn.layers.axes import State
from rnn_core.nn.layers.cells import GATES
from rnn_core.nn.layers.feedforward import dropout, linear
from rnn_core.nn.layers.recurrence import RecurrentBackward, recurrent, run_recurrent

__all__ = [
    "GATES",
    "Elementwise",
    "RecurrentBackward",
    "State",
    "dropout",
    "linear",
    "prelu",
    "recurrent",
    "relu",
    "run_recurrent",
    "sigmoid",
    "softmax",
    "tanh",
]

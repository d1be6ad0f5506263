"""The network of a stack: recurrent layers, a readout and a linear head, and the values it starts from."""

from collections.abc import Callable, Sequence

import numpy as np

from rnn_core.arrays import Array, Params
from rnn_core.config import Model
from rnn_core.layers import linear, run_recurrent

GATES = {"gru": 3, "lstm": 4}  # the other cells have one
PRELU_SLOPE = 0.25  # where torch starts it


def param_shapes(model: Model, input_size: int, output_size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of one model's parameters by torch's names; the head is `head.weight` (O, D·H) and `head.bias` (O,)."""
    hidden, gates = model.hidden_size, GATES.get(model.cell, 1)
    directions = ["", "_reverse"] if model.bidirectional else [""]
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(model.num_layers):
        width = input_size if layer == 0 else hidden * len(directions)
        for direction in directions:
            suffix = f"l{layer}{direction}"
            shapes[f"weight_ih_{suffix}"] = (gates * hidden, width)
            shapes[f"weight_hh_{suffix}"] = (gates * hidden, hidden)
            if model.bias:
                shapes[f"bias_ih_{suffix}"] = (gates * hidden,)
                shapes[f"bias_hh_{suffix}"] = (gates * hidden,)
            if model.cell == "rnn_prelu":
                shapes[f"slope_{suffix}"] = (1,)
    return shapes | {"head.weight": (output_size, hidden * len(directions)), "head.bias": (output_size,)}


def initial_params(
    model: Model, input_size: int, output_size: int, rngs: Sequence[np.random.Generator], dtype: str
) -> Params:
    """Draw the parameters of M models, one Generator a model, as torch does: uniform in ±1/√(fan of the layer).

    torch.nn.RNN draws every array in ±1/√hidden_size, torch.nn.Linear in ±1/√in_features.
    """
    shapes = param_shapes(model, input_size, output_size)

    def draw(name: str, rng: np.random.Generator) -> Array:
        if name.startswith("slope"):
            return np.full(shapes[name], PRELU_SLOPE)
        fan = shapes["head.weight"][1] if name.startswith("head") else model.hidden_size
        bound = fan**-0.5
        return rng.uniform(-bound, bound, shapes[name])

    models = [{name: draw(name, rng) for name in shapes} for rng in rngs]
    return {name: np.stack([drawn[name] for drawn in models]).astype(dtype) for name in shapes}


def network(
    params: Params, x: Array, model: Model, rng: Sequence[np.random.Generator] | None = None
) -> tuple[Array, Callable[[Array], Params]]:
    """Logits (M, N, 1, O) read from the last hidden states of the top layer, and their backward pass.

    `x` is (M, N, T, I). `rng`, one Generator a model, turns dropout on. `backward(dlogits)` returns the gradients
    by the names of `params`.
    """
    recurrent_params, head = split_head(params)
    models, rows = x.shape[:2]
    output, state, recurrent_backward = run_recurrent(
        recurrent_params,
        x,
        cell=model.cell,
        num_layers=model.num_layers,
        bidirectional=model.bidirectional,
        dropout=model.dropout if rng is not None else 0.0,
        rng=rng,
    )
    last = state[0] if isinstance(state, tuple) else state  # (M, D·num_layers, N, H)
    directions = 2 if model.bidirectional else 1
    top = np.moveaxis(last[:, -directions:], 1, 2).reshape(models, rows, 1, -1)  # (M, N, 1, D·H)
    logits, head_backward = linear(head, top)

    def backward(dlogits: Array) -> Params:
        head_grads, dtop = head_backward(dlogits)
        dlast = np.zeros_like(last)
        dlast[:, -directions:] = np.moveaxis(dtop.reshape(models, rows, directions, -1), 2, 1)
        dstate = (dlast, np.zeros_like(dlast)) if isinstance(state, tuple) else dlast
        grads, _, _ = recurrent_backward(np.zeros_like(output), dstate)
        return grads | {f"head.{name}": grad for name, grad in head_grads.items()}

    return logits, backward


def split_head(params: Params) -> tuple[Params, Params]:
    """The parameters of the recurrent layers, and those of the head as `weight` and `bias`."""
    head = {name.removeprefix("head."): value for name, value in params.items() if name.startswith("head.")}
    return {name: value for name, value in params.items() if not name.startswith("head.")}, head

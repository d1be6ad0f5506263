"""The network of a stack: recurrent layers, a readout and a head, and the values they start from."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnn_core.errors import ConfigError
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import GATES, State, linear, run_recurrent, tanh
from rnn_core.nn.settings import Model

PRELU_SLOPE = 0.25  # where torch starts it
SMALL = 1e-3  # standard deviation of the input weights beside an identity
HEADS = ("hidden", "head")  # what stands behind the recurrent layers: parameters `hidden.weight`, `head.bias`, …


def param_shapes(model: Model, input_size: int, output_size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of one model's parameters by torch's names.

    Behind the recurrent layers come `head.weight` (O, D·H) and `head.bias` (O,), and for a tanh head, before them,
    `hidden.weight` (D·H, D·H) and `hidden.bias` (D·H,).
    """
    hidden, gates = model.hidden_size, GATES[model.cell]
    directions = ["", "_reverse"] if model.bidirectional else [""]
    width = hidden * len(directions)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(model.num_layers):
        for direction in directions:
            suffix = f"l{layer}{direction}"
            shapes[f"weight_ih_{suffix}"] = (gates * hidden, width if layer else input_size)
            shapes[f"weight_hh_{suffix}"] = (gates * hidden, hidden)
            if model.bias:
                shapes[f"bias_ih_{suffix}"] = shapes[f"bias_hh_{suffix}"] = (gates * hidden,)
            if model.cell == "rnn_prelu":
                shapes[f"slope_{suffix}"] = (1,)
    if model.head == "tanh":
        shapes |= {"hidden.weight": (width, width), "hidden.bias": (width,)}
    return shapes | {"head.weight": (output_size, width), "head.bias": (output_size,)}


def initial_params(
    model: Model, input_size: int, output_size: int, rngs: Sequence[np.random.Generator], dtype: str
) -> Params:
    """Draw the parameters of M models, {name: (M, …)}, one Generator a model, as `model.init` says.

    torch: uniform in ±1/√hidden_size, heads in ±1/√in_features, as torch.nn.RNN and torch.nn.Linear do. The others set
    biases to zero: xavier (Glorot and Bengio 2010) draws every weight uniformly in ±√(6 / (fan_in + fan_out)), each
    gate by itself; orthogonal (Saxe et al. 2014) draws the recurrent ones orthogonal, gate by gate; identity (Le,
    Jaitly and Hinton 2015) makes them the identity and the input weights small.
    """
    shapes = param_shapes(model, input_size, output_size)
    models = [{name: _draw(model, name, shape, rng) for name, shape in shapes.items()} for rng in rngs]
    return {name: np.stack([drawn[name] for drawn in models]).astype(dtype) for name in shapes}


def _draw(model: Model, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    hidden, is_head = model.hidden_size, name.startswith(HEADS)
    if name.startswith("slope"):
        return np.full(shape, PRELU_SLOPE)
    if model.init == "torch":
        width = hidden * (2 if model.bidirectional else 1)
        bound = (width if is_head else hidden) ** -0.5
        value: Array = rng.uniform(-bound, bound, shape)
    elif "bias" in name:
        value = np.zeros(shape)
    else:
        blocks = 1 if is_head else GATES[model.cell]
        value = np.concatenate([_block(model, name, (shape[0] // blocks, shape[1]), rng) for _ in range(blocks)])
    if model.cell == "lstm" and name.startswith("bias_ih"):
        value[hidden : 2 * hidden] += model.forget_bias
    return value


def _block(model: Model, name: str, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """One gate's weights, or a head's."""
    recurrent = name.startswith("weight_hh")
    if model.init == "identity" and not name.startswith(HEADS):
        return np.eye(*shape) if recurrent else rng.normal(0, SMALL, shape)
    if model.init == "orthogonal" and recurrent:
        q, r = np.linalg.qr(rng.normal(size=shape))
        return np.asarray(q * np.sign(np.diag(r)))  # uniform over the orthogonal matrices (Mezzadri 2007)
    bound = (6 / sum(shape)) ** 0.5
    return rng.uniform(-bound, bound, shape)


def network(
    params: Params,
    x: Array,
    model: Model,
    *,
    lengths: Array | None = None,
    rng: Sequence[np.random.Generator] | None = None,
    truncate: int | None = None,
) -> tuple[Array, Callable[[Array], Params]]:
    """Logits of x (M, N, T, I), and their backward pass.

    `model.readout` says where they are read: (M, N, T, O) from every step's output, or (M, N, 1, O) from the last
    hidden states of the top layer, both directions. `lengths` is (M, N) valid steps, all if None. `rng`, one Generator
    a model, turns dropout on. `truncate` is as in `truncated_recurrent`. `backward(dlogits)` returns the gradients by
    the names of `params`.
    """
    parts = split(params)
    output, state, recurrent_backward = truncated_recurrent(
        parts[""],
        x,
        x.shape[2] if truncate is None else truncate,
        cell=model.cell,
        num_layers=model.num_layers,
        bidirectional=model.bidirectional,
        lengths=lengths,
        dropout=model.dropout if rng is not None else 0.0,
        rng=rng,
    )
    logits, read_backward = read(parts, output, state, model)

    def backward(dlogits: Array) -> Params:
        grads, d_output, d_state = read_backward(dlogits)
        grads[""], _, _ = recurrent_backward(d_output, d_state)
        joined = {f"{part}.{name}".removeprefix("."): grad for part in grads for name, grad in grads[part].items()}
        return {name: joined[name] for name in params}

    return logits, backward


def read(
    parts: dict[str, Params], output: Array, state: State, model: Model
) -> tuple[Array, Callable[[Array], tuple[dict[str, Params], Array | None, State | None]]]:
    """Logits from what the recurrent layers gave, and their backward pass to `(grads by part, d_output, d_state)`."""
    if model.readout == "steps":
        features = output
    else:
        features, last_backward = _last_hidden(state, model)
    activation_backward = None
    if model.head == "tanh":
        features, hidden_backward = linear(parts["hidden"], features)
        features, activation_backward = tanh(features)
    logits, head_backward = linear(parts["head"], features)

    def backward(dlogits: Array) -> tuple[dict[str, Params], Array | None, State | None]:
        grads = {}
        grads["head"], d_features = head_backward(dlogits)
        if activation_backward is not None:
            grads["hidden"], d_features = hidden_backward(activation_backward(d_features))
        return (grads, d_features, None) if model.readout == "steps" else (grads, None, last_backward(d_features))

    return logits, backward


def split(params: Params) -> dict[str, Params]:
    """The parameters by part: the recurrent layers under "", and `hidden` and `head` without their prefixes."""
    parts: dict[str, Params] = {"": {}}
    for name, value in params.items():
        part, _, own = name.rpartition(".")
        parts.setdefault(part, {})[own] = value
    return parts


def truncated_recurrent(
    params: Params, x: Array, steps: int, *, lengths: Array | None = None, **options: Any
) -> tuple[Array, State, Callable[..., tuple[Params, Array, State]]]:
    """`layers.recurrent` through which a gradient travels back at most to the start of its piece of `steps`.

    A long series is cut into pieces of `steps`; the state is carried from one to the next and its gradient is not
    (Williams and Peng 1990). With `steps` ≥ T it is the whole. A net that reads both ways cannot be cut.

    Raises:
        ConfigError: the options say bidirectional and `steps` < T.
    """
    seq_len = x.shape[2]
    if steps >= seq_len:
        return run_recurrent(params, x, lengths=lengths, **options)
    if options.get("bidirectional"):
        raise ConfigError(f"training.truncate is {steps} of {seq_len} steps; a bidirectional model cannot be truncated")
    starts = range(0, seq_len, steps)
    outputs, backwards = [], []
    h0: Array | None = None
    c0: Array | None = None
    for start in starts:
        piece = x[:, :, start : start + steps]
        left = None if lengths is None else np.clip(lengths - start, 0, piece.shape[2])
        output, state, backward_piece = run_recurrent(params, piece, lengths=left, h0=h0, c0=c0, **options)
        h0, c0 = state if isinstance(state, tuple) else (state, None)
        outputs.append(output)
        backwards.append(backward_piece)

    def backward(d_output: Array | None, d_state: State | None = None) -> tuple[Params, Array, State]:
        total = {name: np.zeros_like(value) for name, value in params.items()}
        dx = np.empty_like(x)
        for start, backward_piece in reversed(list(zip(starts, backwards, strict=True))):
            span = slice(start, start + steps)
            grads, dx[:, :, span], d_initial = backward_piece(
                None if d_output is None else d_output[:, :, span], d_state
            )
            total = {name: value + grads[name] for name, value in total.items()}
            d_state = _where_over(d_initial, lengths, start)
        return total, dx, d_initial

    return np.concatenate(outputs, axis=2), state, backward


def _where_over(d_state: State, lengths: Array | None, start: int) -> State | None:
    """The gradient of the state of sequences that were over before `start`: through padding it passes unchanged."""
    if lengths is None:
        return None
    over = (np.atleast_2d(lengths) <= start)[:, None, :, None]  # (1 or M, 1, N, 1)
    if isinstance(d_state, tuple):
        return np.where(over, d_state[0], 0), np.where(over, d_state[1], 0)
    return np.where(over, d_state, 0)


def _last_hidden(state: State, model: Model) -> tuple[Array, Callable[[Array], State]]:
    """The top layer's last hidden states, (M, N, 1, D·H), from a state; and its backward pass."""
    last = state[0] if isinstance(state, tuple) else state  # (M, D·num_layers, N, H)
    models, _, rows, _ = last.shape
    directions = 2 if model.bidirectional else 1

    def backward(d_features: Array) -> State:
        d_last = np.zeros_like(last)
        d_last[:, -directions:] = d_features.reshape(models, rows, directions, -1).swapaxes(1, 2)
        return (d_last, np.zeros_like(last)) if isinstance(state, tuple) else d_last

    return last[:, -directions:].swapaxes(1, 2).reshape(models, rows, 1, -1), backward

"""The network of a stack: recurrent layers, a readout and a head, and their initial parameters."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from rnn_core.errors import ConfigError
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import GATES, State, linear, run_recurrent, tanh
from rnn_core.nn.settings import Model

PRELU_SLOPE = 0.25  # where torch starts it
SMALL = 1e-3  # standard deviation of the input weights of an identity
HEADS = ("hidden", "head")  # the layers after the recurrent ones: `hidden.weight`, `head.bias`, …

Shape: TypeAlias = tuple[int, ...]


def param_shapes(model: Model, input_size: int, output_size: int) -> dict[str, Shape]:
    """Return the shapes of one model's parameters by torch's names.

    After the recurrent layers come `head.weight` (O, D·H) and `head.bias` (O,), and before these,
    for a tanh head, `hidden.weight` (D·H, D·H) and `hidden.bias` (D·H,).
    """
    directions = ("", "_reverse") if model.bidirectional else ("",)
    width = model.hidden_size * len(directions)
    shapes: dict[str, Shape] = {}
    for layer in range(model.num_layers):
        inputs = width if layer else input_size
        for direction in directions:
            for kind, shape in _direction_shapes(model, inputs).items():
                shapes[f"{kind}_l{layer}{direction}"] = shape
    if model.head == "tanh":
        shapes |= {"hidden.weight": (width, width), "hidden.bias": (width,)}
    return shapes | {"head.weight": (output_size, width), "head.bias": (output_size,)}


def _direction_shapes(model: Model, input_size: int) -> dict[str, Shape]:
    """Return the shapes of one layer and direction by kind."""
    hidden_size = model.hidden_size
    rows = GATES[model.cell] * hidden_size
    shapes: dict[str, Shape] = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
    if model.bias:
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
    if model.cell == "rnn_prelu":
        shapes["slope"] = (1,)
    return shapes


def initial_params(
    model: Model,
    input_size: int,
    output_size: int,
    rngs: Sequence[np.random.Generator],
    dtype: str,
) -> Params:
    """Draw the parameters of M models, {name: (M, …)}, one Generator for each, by `model.init`.

    - torch: uniform in ±1/√hidden_size, heads in ±1/√in_features, as torch.nn.RNN and
      torch.nn.Linear do.
    - xavier: every weight uniform in ±√(6 / (fan_in + fan_out)), gate by gate (Glorot and Bengio
      2010).
    - orthogonal: the recurrent weights orthogonal, gate by gate (Saxe et al. 2014), others xavier.
    - identity: the recurrent weights the identity, the input weights small (Le, Jaitly and Hinton
      2015), the head xavier.

    All but torch set biases to zero.
    """
    shapes = param_shapes(model, input_size, output_size)
    models = [
        {name: _draw(model, name, shape, rng) for name, shape in shapes.items()} for rng in rngs
    ]
    return {name: np.stack([drawn[name] for drawn in models]).astype(dtype) for name in shapes}


def _draw(model: Model, name: str, shape: Shape, rng: np.random.Generator) -> Array:
    if name.startswith("slope"):
        return np.full(shape, PRELU_SLOPE)
    if model.init == "torch":
        value = _as_torch(model, name, shape, rng)
    elif "bias" in name:
        value = np.zeros(shape)
    else:
        value = _by_gate(model, name, shape, rng)
    if model.cell == "lstm" and name.startswith("bias_ih"):
        value[model.hidden_size : 2 * model.hidden_size] += model.forget_bias
    return value


def _as_torch(model: Model, name: str, shape: Shape, rng: np.random.Generator) -> Array:
    directions = 2 if model.bidirectional else 1
    fan_in = model.hidden_size * (directions if name.startswith(HEADS) else 1)
    bound = fan_in**-0.5
    return rng.uniform(-bound, bound, shape)


def _by_gate(model: Model, name: str, shape: Shape, rng: np.random.Generator) -> Array:
    """Draw the weights of each gate by themselves, or those of a head."""
    gates = 1 if name.startswith(HEADS) else GATES[model.cell]
    rows, columns = shape
    blocks = [_block(model, name, (rows // gates, columns), rng) for _ in range(gates)]
    return np.concatenate(blocks)


def _block(model: Model, name: str, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Draw one gate's weights, or a head's."""
    is_recurrent = name.startswith("weight_hh")
    if model.init == "identity" and not name.startswith(HEADS):
        return np.eye(*shape) if is_recurrent else rng.normal(0, SMALL, shape)
    if model.init == "orthogonal" and is_recurrent:
        q, r = np.linalg.qr(rng.normal(size=shape))
        return np.asarray(q * np.sign(np.diag(r)))  # uniform over all of them (Mezzadri 2007)
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
    """Return the logits of x, and their backward pass.

    Args:
        params: {name: (M, …)} by the names of `param_shapes`.
        x: (M, N, T, I)
        model: its `readout` says where logits are read: from every step's output, or from the last
            hidden states of the top layer, both directions.
        lengths: (M, N) valid steps; None means all T.
        rng: one Generator for each model turns dropout on; None turns it off.
        truncate: steps that a gradient travels back, as in `truncated_recurrent`.

    Returns:
        logits: (M, N, T, O), or (M, N, 1, O) of the last hidden states.
        backward: `backward(dlogits)` returns the gradients by the names of `params`.
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
        joined = _join(grads)
        return {name: joined[name] for name in params}

    return logits, backward


ReadBackward: TypeAlias = Callable[[Array], tuple[dict[str, Params], Array | None, State | None]]
"""`backward(dlogits)` gives `(grads by part, d_output, d_state)`; None stands for zero."""


def read(
    parts: dict[str, Params], output: Array, state: State, model: Model
) -> tuple[Array, ReadBackward]:
    """Return the logits from what the recurrent layers gave, and their backward pass.

    Args:
        parts: parameters as `split` gives them.
        output: (M, N, T, D·H) hidden states of the top layer.
        state: the last states of all layers.
        model: says where logits are read, and by which head.
    """
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
        if model.readout == "steps":
            return grads, d_features, None
        return grads, None, last_backward(d_features)

    return logits, backward


def split(params: Params) -> dict[str, Params]:
    """Return the parameters by part: "" for the recurrent layers, "hidden" and "head".

    >>> parts = split({"weight_hh_l0": np.ones((1, 2, 2)), "head.bias": np.zeros((1, 1))})
    >>> {part: list(params) for part, params in parts.items()}
    {'': ['weight_hh_l0'], 'head': ['bias']}
    """
    parts: dict[str, Params] = {"": {}}
    for full_name, value in params.items():
        part, _, name = full_name.rpartition(".")
        parts.setdefault(part, {})[name] = value
    return parts


def _join(parts: dict[str, Params]) -> Params:
    """Return the parameters of all parts by their full names."""
    joined: Params = {}
    for part, params in parts.items():
        prefix = f"{part}." if part else ""
        joined |= {f"{prefix}{name}": value for name, value in params.items()}
    return joined


def truncated_recurrent(
    params: Params, x: Array, steps: int, *, lengths: Array | None = None, **options: Any
) -> tuple[Array, State, Callable[..., tuple[Params, Array, State]]]:
    """Run `layers.recurrent` with its gradient cut off between pieces of `steps`.

    A long series is cut into pieces; the state is carried from one to the next and its gradient is
    not (Williams and Peng 1990). With `steps` ≥ T nothing is cut.

    Raises:
        ConfigError: the options say bidirectional and `steps` < T: such a net cannot be cut.
    """
    seq_len = x.shape[2]
    if steps >= seq_len:
        return run_recurrent(params, x, lengths=lengths, **options)
    if options.get("bidirectional"):
        received = f"training.truncate is {steps} of {seq_len} steps"
        raise ConfigError(f"{received}; a bidirectional model cannot be truncated")
    starts = range(0, seq_len, steps)
    outputs, backwards = [], []
    h0: Array | None = None
    c0: Array | None = None
    for start in starts:
        piece = x[:, :, start : start + steps]
        left = None if lengths is None else np.clip(lengths - start, 0, piece.shape[2])
        output, state, piece_backward = run_recurrent(
            params, piece, lengths=left, h0=h0, c0=c0, **options
        )
        h0, c0 = state if isinstance(state, tuple) else (state, None)
        outputs.append(output)
        backwards.append(piece_backward)

    def backward(
        d_output: Array | None, d_state: State | None = None
    ) -> tuple[Params, Array, State]:
        total = {name: np.zeros_like(value) for name, value in params.items()}
        dx = np.empty_like(x)
        for start, piece_backward in zip(starts[::-1], backwards[::-1], strict=True):
            span = slice(start, start + steps)
            d_piece = None if d_output is None else d_output[:, :, span]
            grads, dx[:, :, span], d_initial = piece_backward(d_piece, d_state)
            total = {name: value + grads[name] for name, value in total.items()}
            d_state = _where_over(d_initial, lengths, start)
        return total, dx, d_initial

    return np.concatenate(outputs, axis=2), state, backward


def _where_over(d_state: State, lengths: Array | None, start: int) -> State | None:
    """Return the gradient of the states of sequences that were over before `start`, else zero.

    It passes through padding unchanged.
    """
    if lengths is None:
        return None
    over = (np.atleast_2d(lengths) <= start)[:, None, :, None]  # (1 or M, 1, N, 1)
    if isinstance(d_state, tuple):
        return np.where(over, d_state[0], 0), np.where(over, d_state[1], 0)
    return np.where(over, d_state, 0)


def _last_hidden(state: State, model: Model) -> tuple[Array, Callable[[Array], State]]:
    """Return the top layer's last hidden states, (M, N, 1, D·H), and their backward pass."""
    last = state[0] if isinstance(state, tuple) else state  # (M, D·num_layers, N, H)
    models, _, rows, _ = last.shape
    directions = 2 if model.bidirectional else 1

    def backward(d_features: Array) -> State:
        by_direction = d_features.reshape(models, rows, directions, -1).swapaxes(1, 2)
        d_last = np.zeros_like(last)
        d_last[:, -directions:] = by_direction
        return (d_last, np.zeros_like(last)) if isinstance(state, tuple) else d_last

    return last[:, -directions:].swapaxes(1, 2).reshape(models, rows, 1, -1), backward

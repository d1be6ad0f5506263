"""The torch engine: the same networks, with products batched over the stack and autograd.

The arithmetic of the layers is repeated here, forward only, over a leading model axis, which
torch's own recurrent modules lack.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rnn_core.errors import ConfigError
from rnn_core.nn import optim
from rnn_core.nn.arrays import Array, Params, flatten
from rnn_core.nn.engines import Inputs, Targets, mean_loss, rule_of
from rnn_core.nn.layers import dropout
from rnn_core.nn.losses import TEXTBOOK_EPSILON, LossName, check_fit
from rnn_core.nn.settings import Cell, Model, Training

Tensors = dict[str, Tensor]
Weighted = tuple[Tensor, Tensor]
"""Weighted losses and their weights, (M, N, S, O or 1) each, as in `rnn_core.nn.losses`."""

States = tuple[Tensor, ...]
"""The state of a layer: h, or h and c of an LSTM, each (M, N, H)."""

Step = Callable[[Tensor, Tensor, States, Tensor], States]
"""From the sums of the inputs and of the hidden state (M, N, G·H), the state before, and the slope
of a PReLU (M, 1): the state after a step."""

RULES = ("sgd", "adam", "adamw")  # `rnn_core.nn.optim` takes tensors too


class TorchEngine:
    """A stack of M models whose parameters are the rows of one (M, P) tensor."""

    kernel = False

    def __init__(
        self,
        model: Model,
        training: Training,
        inputs: Inputs,
        targets: Targets,
        params: Params,
        rngs: Sequence[np.random.Generator],
    ) -> None:
        _check_covered(model, training, targets)
        self._tensor = partial(torch.as_tensor, device=training.device)
        self._model = model
        self._inputs = inputs
        self._targets = targets
        self._rngs = rngs
        self._truncate = training.truncate
        self._rule = rule_of(training)
        self._shapes = {name: value.shape[1:] for name, value in params.items()}
        self._flat = self._tensor(flatten(params))
        self._memory = optim.start(self._rule, self._flat)
        self._updates = 0
        self.frozen = np.full(len(self._flat), -1)

    @property
    def params(self) -> Params:
        """Return a copy of the current parameters, {name: (M, …)}."""
        return {name: _array(value).copy() for name, value in self._unflatten(self._flat).items()}

    @property
    def state(self) -> dict[str, Array]:
        """Return a copy of everything that training changes."""
        changing = {
            "params": self._flat,
            "frozen": self.frozen,
            "updates": np.array(self._updates),
            **self._memory,
        }
        return {name: _array(value).copy() for name, value in changing.items()}

    @state.setter
    def state(self, state: dict[str, Array]) -> None:
        copies = {name: value.copy() for name, value in state.items()}
        self._flat = self._tensor(copies["params"])
        self.frozen = copies["frozen"]
        self._updates = int(copies["updates"])
        for name in self._memory:
            in_numpy = name == "step"
            self._memory[name] = copies[name] if in_numpy else self._tensor(copies[name])

    def train(self, rows: Array, rate: Array) -> Array:
        """Update on batches of `rows` (M, E, steps, B) at `rate` (M, E); return losses (M, E)."""
        losses = [self._epoch(rows[:, e], rate[:, e]) for e in range(rows.shape[1])]
        return np.stack(losses, axis=1)

    def _epoch(self, rows: Array, rate: Array) -> Array:
        """Train for one epoch on `rows` (M, steps, B) at `rate` (M,); return the losses (M,)."""
        models, steps, _ = rows.shape
        losses = np.zeros((steps, models))
        scored = np.zeros((steps, models))
        for step in range(steps):
            flat = self._flat.detach().requires_grad_()
            loss, mask = self._loss(flat, rows[:, step], self._rngs)
            (grads,) = torch.autograd.grad(loss.sum(), flat)
            losses[step] = _array(loss)
            scored[step] = mask.sum(axis=(1, 2)) * (self.frozen < 0)
            moves = scored[step] > 0
            with torch.no_grad():
                lost = optim.update(self._rule, self._flat, grads, self._memory, moves, rate)
            self.frozen[lost] = self._updates + step
        self._updates += steps
        return mean_loss(losses, scored)

    def loss(self, rows: Array) -> Array:
        """Return the mean loss of each model (M,) over `rows` (M, v); NaN without a row."""
        busy = (rows >= 0).any(axis=1)
        if not busy.any():
            return np.full(len(rows), np.nan)
        with torch.no_grad():
            losses, _ = self._loss(self._flat, rows, None)
        return np.where(busy, _array(losses), np.nan)

    def _loss(
        self, flat: Tensor, rows: Array, rngs: Sequence[np.random.Generator] | None
    ) -> tuple[Tensor, Array]:
        """Return the mean loss (M,) of a batch of `rows` (M, B), and its mask (M, B, S)."""
        x, lengths = self._inputs.batch(np.arange(len(rows)), rows)
        y, mask = self._targets.batch(rows)
        logits = _network(
            self._unflatten(flat),
            self._tensor(x),
            self._model,
            lengths=None if lengths is None else self._tensor(lengths),
            rngs=rngs,
            truncate=self._truncate,
        )
        check_fit(self._targets.loss, logits, y, mask, self._targets.class_weights)
        return self._mean_loss(logits, self._tensor(y), self._tensor(mask)), mask

    def _mean_loss(self, logits: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Return the weighted mean (M,) over the scored steps; 0 without any."""
        scored = mask[..., None]
        class_weights = self._targets.class_weights
        weights = None if class_weights is None else self._tensor(class_weights).to(logits)
        losses, shares = LOSSES[self._targets.loss](logits, torch.where(scored, y, 0), weights)
        total = torch.where(scored, losses, 0).flatten(1).sum(1)
        count = torch.where(scored, shares, 0).flatten(1).sum(1)
        return total / torch.where(count > 0, count, 1)

    def _unflatten(self, flat: Tensor) -> Tensors:
        """View flat (M, P) as {name: (M, …)}."""
        sizes = [prod(shape) for shape in self._shapes.values()]
        pieces = zip(self._shapes.items(), torch.split(flat, sizes, dim=1), strict=True)
        return {name: piece.reshape(len(flat), *shape) for (name, shape), piece in pieces}


def _check_covered(model: Model, training: Training, targets: Targets) -> None:
    if training.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("training.device is cuda and torch finds no GPU; use cpu")
    _check_known("model.cell", model.cell, STEPS)
    _check_known("targets.loss", targets.loss, LOSSES)
    _check_known("training.optimiser", training.optimiser, RULES)


def _check_known(field: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ConfigError(f"{field} is {name}; the torch engine has {', '.join(known)}")


def _class_weighted(y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the weights of each element as a 0 and as a 1, (M, N, T, O) each."""
    if weights is None:
        return 1 - y, y
    return weights[0] * (1 - y), weights[1] * y


def _binary_cross_entropy(logits: Tensor, y: Tensor, weights: Tensor | None) -> Weighted:
    down, up = _class_weighted(y, weights)
    loss = -down * functional.logsigmoid(-logits) - up * functional.logsigmoid(logits)
    return loss, down + up


def _textbook_cross_entropy(logits: Tensor, y: Tensor, weights: Tensor | None) -> Weighted:
    down, up = _class_weighted(y, weights)
    p = logits.sigmoid()
    textbook = -down * (1 - p + TEXTBOOK_EPSILON).log() - up * (p + TEXTBOOK_EPSILON).log()
    loss, weight = _binary_cross_entropy(logits, y, weights)
    return loss + (textbook - loss).detach(), weight  # the textbook's value, the other's gradient


def _brier(logits: Tensor, y: Tensor, weights: Tensor | None) -> Weighted:
    down, up = _class_weighted(y, weights)
    return (down + up) * (logits.sigmoid() - y) ** 2, down + up


def _cross_entropy(logits: Tensor, y: Tensor, weights: Tensor | None) -> Weighted:
    weighted = y if weights is None else y * weights
    loss = -(weighted * logits.log_softmax(-1)).sum(-1, keepdim=True)
    return loss, weighted.sum(-1, keepdim=True)


def _mean_squared_error(logits: Tensor, y: Tensor, weights: Tensor | None) -> Weighted:
    return functional.mse_loss(logits, y, reduction="none"), torch.ones_like(logits)


LOSSES: dict[LossName, Callable[[Tensor, Tensor, Tensor | None], Weighted]] = {
    "binary_cross_entropy": _binary_cross_entropy,
    "textbook_cross_entropy": _textbook_cross_entropy,
    "brier": _brier,
    "cross_entropy": _cross_entropy,
    "mean_squared_error": _mean_squared_error,
}


def _network(
    params: Tensors,
    x: Tensor,
    model: Model,
    lengths: Tensor | None = None,
    rngs: Sequence[np.random.Generator] | None = None,
    truncate: int | None = None,
) -> Tensor:
    """Return the logits of x (M, N, T, I), as `rnn_core.nn.network.network`."""
    piece = _piece_length(model, x.shape[2], truncate)
    if lengths is not None:
        x = _zero_padding(x, lengths)
    scales: list[Tensor] = []
    if rngs is not None and model.dropout > 0:
        scales = _dropout_scales(x, model, rngs, piece)

    for layer in range(model.num_layers):
        if layer > 0 and scales:
            x = x * scales[layer - 1]
        x, last = _layer(params, x, model, layer, lengths, piece)
    features = x if model.readout == "steps" else last[:, :, None]
    if model.head == "tanh":
        features = _linear(params, "hidden", features).tanh()
    return _linear(params, "head", features)


def _piece_length(model: Model, steps: int, truncate: int | None) -> int:
    """Return how many steps a gradient travels back at most."""
    piece = steps if truncate is None else truncate
    if piece < steps and model.bidirectional:
        given = f"training.truncate is {truncate} of {steps} steps"
        raise ConfigError(f"{given}; a bidirectional model cannot be truncated")
    return piece


def _zero_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Return x (M, N, T, I) with zeros beyond `lengths` (M, N)."""
    valid = torch.arange(x.shape[2], device=x.device) < lengths[..., None]
    return torch.where(valid[..., None], x, 0)


def _linear(params: Tensors, name: str, x: Tensor) -> Tensor:
    """Return (M, N, S, O) of x (M, N, S, F)."""
    weight = params[f"{name}.weight"].mT
    bias = params[f"{name}.bias"][:, None]
    return torch.baddbmm(bias, x.flatten(1, 2), weight).reshape(*x.shape[:3], -1)


def _dropout_scales(
    x: Tensor, model: Model, rngs: Sequence[np.random.Generator], piece: int
) -> list[Tensor]:
    """Return 0 or 1 / (1 − p) for each element (M, N, T, D·H) that a layer hands to the next.

    The NumPy layers draw the same, in the same order: for each `piece` of steps, layer by layer.
    """
    models, rows, steps, _ = x.shape
    width = model.hidden_size * (2 if model.bidirectional else 1)
    pieces = []
    for start in range(0, steps, piece):
        ones = np.ones((models, min(piece, steps - start), rows, width))
        drawn = [dropout(ones, model.dropout, rngs)[0] for _ in range(1, model.num_layers)]
        pieces.append(drawn)
    layers = (np.concatenate(layer, axis=1).swapaxes(1, 2) for layer in zip(*pieces, strict=True))
    return [torch.as_tensor(layer, dtype=x.dtype, device=x.device) for layer in layers]


def _layer(
    params: Tensors, x: Tensor, model: Model, layer: int, lengths: Tensor | None, piece: int
) -> tuple[Tensor, Tensor]:
    """Return hidden states (M, N, T, D·H) of x (M, N, T, I) and the last ones (M, N, D·H)."""
    directions = ("", "_reverse") if model.bidirectional else ("",)
    outputs = []
    finals = []
    for direction in directions:
        weights = _weights(params, f"l{layer}{direction}")
        output, final = _scan(weights, x, model.cell, lengths, piece, backwards=bool(direction))
        outputs.append(output)
        finals.append(final)
    return torch.cat(outputs, dim=-1), torch.cat(finals, dim=-1)


class Weights(NamedTuple):
    """The parameters of one direction of one layer; zero for those it lacks."""

    ih: Tensor  # (M, I, G·H)
    hh: Tensor  # (M, H, G·H)
    bias_ih: Tensor  # (M, 1, G·H)
    bias_hh: Tensor  # (M, 1, G·H)
    slope: Tensor  # (M, 1) of a PReLU


def _weights(params: Tensors, suffix: str) -> Weights:
    weight_ih = params[f"weight_ih_{suffix}"]
    weight_hh = params[f"weight_hh_{suffix}"]
    zeros = weight_ih.new_zeros(weight_ih.shape[:2])
    return Weights(
        ih=weight_ih.mT,
        hh=weight_hh.mT,
        bias_ih=params.get(f"bias_ih_{suffix}", zeros)[:, None],
        bias_hh=params.get(f"bias_hh_{suffix}", zeros)[:, None],
        slope=params.get(f"slope_{suffix}", zeros),
    )


def _scan(
    weights: Weights,
    x: Tensor,
    cell: Cell,
    lengths: Tensor | None,
    piece: int,
    *,
    backwards: bool,
) -> tuple[Tensor, Tensor]:
    """Return hidden states (M, N, T, H) of x (M, N, T, I) and the last one (M, N, H).

    A gradient travels back at most to the start of its `piece` of steps.
    """
    models, rows, steps, width = x.shape
    projected = torch.baddbmm(weights.bias_ih, x.reshape(models, rows * steps, width), weights.ih)
    inputs = projected.reshape(models, rows, steps, -1).unbind(2)

    h0 = x.new_zeros(models, rows, weights.hh.shape[1])
    state: States = (h0, h0) if cell == "lstm" else (h0,)
    hidden = [h0] * steps
    for t in reversed(range(steps)) if backwards else range(steps):
        alive = None if lengths is None else (t < lengths)[..., None]
        if t > 0 and t % piece == 0:
            # The state passes on; its gradient only where the sequence has ended.
            state = _where(alive, tuple(part.detach() for part in state), state)
        recurrent = torch.baddbmm(weights.bias_hh, state[0], weights.hh)
        after = STEPS[cell](inputs[t], recurrent, state, weights.slope)
        state = _where(alive, after, state)
        hidden[t] = state[0] if alive is None else torch.where(alive, state[0], 0)
    return torch.stack(hidden, dim=2), state[0]


def _where(alive: Tensor | None, new: States, old: States) -> States:
    """Return the new state of the `alive` sequences (all if None) and the old state of the rest."""
    if alive is None:
        return new
    return tuple(torch.where(alive, n, o) for n, o in zip(new, old, strict=True))


def _lstm(inputs: Tensor, recurrent: Tensor, state: States, slope: Tensor) -> States:
    _, c = state
    i, f, g, o = (inputs + recurrent).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(inputs: Tensor, recurrent: Tensor, state: States, slope: Tensor) -> States:
    (h,) = state
    input_r, input_z, input_n = inputs.chunk(3, dim=-1)
    hidden_r, hidden_z, hidden_n = recurrent.chunk(3, dim=-1)
    r = (input_r + hidden_r).sigmoid()
    z = (input_z + hidden_z).sigmoid()
    n = (input_n + r * hidden_n).tanh()
    return (z * h + (1 - z) * n,)


def _rnn(activation: Callable[[Tensor], Tensor]) -> Step:
    """Return the step h = activation(a) of a plain recurrent network."""

    def step(inputs: Tensor, recurrent: Tensor, state: States, slope: Tensor) -> States:
        return (activation(inputs + recurrent),)

    return step


def _prelu(inputs: Tensor, recurrent: Tensor, state: States, slope: Tensor) -> States:
    a = inputs + recurrent
    return (torch.where(a > 0, a, slope.reshape(-1, 1, 1) * a),)


STEPS: dict[Cell, Step] = {
    "rnn_tanh": _rnn(torch.tanh),
    "rnn_relu": _rnn(torch.relu),
    "rnn_sigmoid": _rnn(torch.sigmoid),
    "rnn_prelu": _prelu,
    "gru": _gru,
    "lstm": _lstm,
}


def _array(value: Tensor | Array) -> Array:
    return value if isinstance(value, np.ndarray) else value.detach().cpu().numpy()

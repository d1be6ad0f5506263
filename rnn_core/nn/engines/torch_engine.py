"""The torch engine: the same networks, every product batched over the stack, gradients by autograd.

The arithmetic of the layers is written once more here, forward only, over a leading model axis, which torch's own
recurrent modules do not have.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rnn_core.errors import ConfigError
from rnn_core.nn import optim
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines import Inputs, Targets, mean_loss, rule_of
from rnn_core.nn.layers import dropout
from rnn_core.nn.losses import TEXTBOOK_EPSILON, LossName, check_fit
from rnn_core.nn.settings import Cell, Model, Training

Tensors = dict[str, Tensor]
Weighted = tuple[Tensor, Tensor]
"""Losses, each times its weight, and the weights, (M, N, T, O or 1), as in `rnn_core.nn.losses`."""

States = tuple[Tensor, ...]
"""The state of a layer: h, or h and c of an LSTM, each (M, N, H)."""

Step = Callable[[Tensor, Tensor, States, Tensor], States]
"""The state after a step, from the sums of the inputs and of the hidden state before, (M, N, G·H) each."""

RULES = ("sgd", "adam", "adamw")  # those of `rnn_core.nn.optim`, which takes tensors too


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
        if training.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("training.device is cuda and torch finds no GPU; use cpu")
        _check_known("model.cell", model.cell, STEPS)
        _check_known("targets.loss", targets.loss, LOSSES)
        _check_known("training.optimiser", training.optimiser, RULES)
        self._tensor = partial(torch.as_tensor, device=training.device)
        self._model, self._inputs, self._targets, self._rngs = model, inputs, targets, rngs
        self._truncate = training.truncate
        self._shapes = {name: value.shape[1:] for name, value in params.items()}
        flat = np.concatenate([value.reshape(len(value), -1) for value in params.values()], axis=1)
        self._flat = self._tensor(flat)
        self._rule = rule_of(training)
        self._memory = optim.start(self._rule, self._flat)
        self._updates = 0
        self.frozen = np.full(len(flat), -1)

    @property
    def params(self) -> Params:
        """A copy of the present parameters, {name: (M, …)}."""
        return {name: _array(value).copy() for name, value in self._unflatten(self._flat).items()}

    @property
    def state(self) -> dict[str, Array]:
        """A copy of everything that training changes."""
        moments = {name: _array(value) for name, value in self._memory.items()}
        changing = {"params": _array(self._flat), "frozen": self.frozen, "updates": np.array(self._updates)} | moments
        return {name: value.copy() for name, value in changing.items()}

    @state.setter
    def state(self, state: dict[str, Array]) -> None:
        own = {name: value.copy() for name, value in state.items()}
        self._flat, self.frozen, self._updates = self._tensor(own["params"]), own["frozen"], int(own["updates"])
        self._memory = {name: own[name] if name == "step" else self._tensor(own[name]) for name in self._memory}

    def train(self, rows: Array, rate: Array) -> Array:
        """Update on batches of `rows` (M, E, steps, B) at `rate` (M, E); returns the mean losses (M, E)."""
        return np.stack([self._epoch(rows[:, e], rate[:, e]) for e in range(rows.shape[1])], axis=1)

    def _epoch(self, rows: Array, rate: Array) -> Array:
        """One epoch, on batches of `rows` (M, steps, B) at `rate` (M,); returns the mean losses (M,)."""
        losses, scored = np.zeros((2, rows.shape[1], len(rows)))
        for step in range(rows.shape[1]):
            flat = self._flat.detach().requires_grad_()
            loss, mask = self._loss(flat, rows[:, step], self._rngs)
            (grads,) = torch.autograd.grad(loss.sum(), flat)
            losses[step], scored[step] = _array(loss), mask.sum(axis=(1, 2)) * (self.frozen < 0)
            with torch.no_grad():
                lost = optim.update(self._rule, self._flat, grads, self._memory, scored[step] > 0, rate)
            self.frozen[lost] = self._updates + step
        self._updates += rows.shape[1]
        return mean_loss(losses, scored)

    def loss(self, rows: Array) -> Array:
        """Mean loss of each model (M,) over `rows` (M, v)."""
        busy = (rows >= 0).any(axis=1)
        if not busy.any():
            return np.full(len(rows), np.nan)
        with torch.no_grad():
            return np.where(busy, _array(self._loss(self._flat, rows, None)[0]), np.nan)

    def _loss(self, flat: Tensor, rows: Array, rngs: Sequence[np.random.Generator] | None) -> tuple[Tensor, Array]:
        """Mean loss of each model (M,) over the batch `rows` (M, B), and what of it was scored (M, B, S)."""
        x, lengths = self._inputs.batch(np.arange(len(rows)), rows)
        y, mask = self._targets.batch(rows)
        ends = None if lengths is None else self._tensor(lengths)
        logits = _network(self._unflatten(flat), self._tensor(x), self._model, ends, rngs, self._truncate)
        check_fit(self._targets.loss, logits, y, mask, self._targets.class_weights)
        weights = None if self._targets.class_weights is None else self._tensor(self._targets.class_weights).to(logits)
        scored = self._tensor(mask)[..., None]
        aim = torch.where(scored, self._tensor(y), 0)
        each, weight = LOSSES[self._targets.loss](logits, aim, weights)
        count = torch.where(scored, weight, 0).flatten(1).sum(1)
        return torch.where(scored, each, 0).flatten(1).sum(1) / torch.where(count > 0, count, 1), mask

    def _unflatten(self, flat: Tensor) -> Tensors:
        sizes = [int(np.prod(shape)) for shape in self._shapes.values()]
        pieces = zip(self._shapes.items(), torch.split(flat, sizes, dim=1), strict=True)
        return {name: piece.reshape(len(flat), *shape) for (name, shape), piece in pieces}


def to_torch_state_dict(params: Params, model: int = 0) -> Tensors:
    """One model of a stack as tensors, {name: (…)}, of the same type.

    The names are torch's, so `torch.nn.RNN`, `GRU` and `LSTM` load the recurrent parameters as they are. Those of a
    whole network hold its head besides (`head.weight`, …), for a module that has a `torch.nn.Linear` of that name.
    """
    return {name: torch.from_numpy(value[model].copy()) for name, value in params.items()}


def from_torch_state_dict(state_dict: Mapping[str, Tensor]) -> Params:
    """The tensors of a torch module as a stack of one model, {name: (1, …)}."""
    return {name: tensor.detach().cpu().numpy()[None].copy() for name, tensor in state_dict.items()}


def reference(model: Model, params: Params, x: Array) -> Params:
    """What torch's own RNN, GRU or LSTM makes of x (N, T, I) with the recurrent parameters of a stack's first model.

    `output` (N, T, D·H), `h_n` (D·num_layers, N, H) and of an LSTM `c_n`. torch has no RNN of another cell than tanh
    and relu.
    """
    options = {"nonlinearity": model.cell.removeprefix("rnn_")} if model.cell.startswith("rnn") else {}
    module = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}.get(model.cell, torch.nn.RNN)(
        x.shape[-1],
        model.hidden_size,
        model.num_layers,
        bias=model.bias,
        bidirectional=model.bidirectional,
        batch_first=True,
        dtype=torch.from_numpy(x).dtype,
        **options,
    )
    own = to_torch_state_dict(params)
    module.load_state_dict({name: own[name] for name in module.state_dict()})
    with torch.no_grad():
        output, state = module(torch.from_numpy(x))
    h_n, *c_n = state if isinstance(state, tuple) else (state,)
    return {"output": _array(output), "h_n": _array(h_n)} | ({"c_n": _array(c_n[0])} if c_n else {})


def graph(model: Model, params: Params, input_size: int, steps: int) -> str:
    """The graph that gradients travel back through from `steps` steps of one sequence to the parameters, in DOT."""
    from torchviz import make_dot

    leaves = {name: torch.from_numpy(value[:1]).requires_grad_() for name, value in params.items()}
    x = next(iter(leaves.values())).new_zeros(1, 1, steps, input_size)
    drawn = make_dot(_network(leaves, x, model), params=leaves).source
    numbers: dict[str, str] = {}  # of the nodes, whose names are addresses in memory
    return re.sub(r"\b\d{9,}\b", lambda address: numbers.setdefault(address[0], str(len(numbers))), drawn)


def _check_known(field: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ConfigError(f"{field} is {name}; the torch engine has {', '.join(known)}")


def _class_weighted(y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return how much an element counts as 0 and as 1, (M, N, T, O) each."""
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
    return -(weighted * logits.log_softmax(-1)).sum(-1, keepdim=True), weighted.sum(-1, keepdim=True)


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
    """Logits of x (M, N, T, I), as `rnn_core.nn.network.network`."""
    directions = ("", "_reverse") if model.bidirectional else ("",)
    steps = x.shape[2]
    if truncate is not None and truncate < steps and model.bidirectional:
        raise ConfigError(
            f"training.truncate is {truncate} of {steps} steps; a bidirectional model cannot be truncated"
        )
    if lengths is not None:
        x = torch.where((torch.arange(steps, device=x.device) < lengths[..., None])[..., None], x, 0)
    scales = [] if rngs is None or model.dropout == 0 else _dropout_scales(x, model, rngs, truncate or steps)
    for layer in range(model.num_layers):
        if layer > 0 and scales:
            x = x * scales[layer - 1]
        scans = [
            _scan(params, x, model.cell, f"l{layer}{direction}", lengths, truncate or steps) for direction in directions
        ]
        x = torch.cat([hidden for hidden, _ in scans], dim=-1)
    features = x if model.readout == "steps" else torch.cat([final for _, final in scans], dim=-1)[:, :, None]
    if model.head == "tanh":
        features = _linear(params, "hidden", features).tanh()
    return _linear(params, "head", features)


def _linear(params: Tensors, name: str, x: Tensor) -> Tensor:
    """(M, N, S, O) of x (M, N, S, F)."""
    weight, bias = params[f"{name}.weight"].mT, params[f"{name}.bias"][:, None]
    return torch.baddbmm(bias, x.flatten(1, 2), weight).reshape(*x.shape[:3], -1)


def _dropout_scales(x: Tensor, model: Model, rngs: Sequence[np.random.Generator], truncate: int) -> list[Tensor]:
    """0 or 1 / (1 − p) for each element (M, N, T, D·H) that a layer hands to the next.

    They are those that the NumPy layers draw, in their order: piece by piece, and in a piece layer by layer.
    """
    models, rows, steps, _ = x.shape
    width = model.hidden_size * (2 if model.bidirectional else 1)
    pieces = []
    for start in range(0, steps, truncate):
        ones = np.ones((models, min(truncate, steps - start), rows, width))
        pieces.append([dropout(ones, model.dropout, rngs)[0] for _ in range(1, model.num_layers)])
    layers = (np.concatenate(layer, axis=1).swapaxes(1, 2) for layer in zip(*pieces, strict=True))
    return [torch.as_tensor(layer, dtype=x.dtype, device=x.device) for layer in layers]


def _scan(
    params: Tensors, x: Tensor, cell: Cell, suffix: str, lengths: Tensor | None, truncate: int
) -> tuple[Tensor, Tensor]:
    """One direction of one layer: hidden states (M, N, T, H) of x (M, N, T, I) and the last one (M, N, H)."""
    models, rows, steps, width = x.shape
    weight_ih, weight_hh = params[f"weight_ih_{suffix}"], params[f"weight_hh_{suffix}"].mT
    nothing = weight_ih.new_zeros(weight_ih.shape[:2])
    bias_ih, bias_hh = (params.get(f"bias_{side}_{suffix}", nothing)[:, None] for side in ("ih", "hh"))
    projected = torch.baddbmm(bias_ih, x.reshape(models, rows * steps, width), weight_ih.mT)
    inputs = projected.reshape(models, rows, steps, -1).unbind(2)
    slope = params.get(f"slope_{suffix}", nothing)
    state = (x.new_zeros(models, rows, weight_hh.shape[1]),) * (2 if cell == "lstm" else 1)
    hidden = [state[0]] * steps
    for t in range(steps)[::-1] if suffix.endswith("_reverse") else range(steps):
        alive = None if lengths is None else (t < lengths)[..., None]
        if t > 0 and t % truncate == 0:  # the state is carried on, its gradient only where the sequence was over
            state = tuple(s.detach() if alive is None else torch.where(alive, s.detach(), s) for s in state)
        new = STEPS[cell](inputs[t], torch.baddbmm(bias_hh, state[0], weight_hh), state, slope)
        state = new if alive is None else tuple(torch.where(alive, n, s) for n, s in zip(new, state, strict=True))
        hidden[t] = state[0] if alive is None else torch.where(alive, state[0], 0)
    return torch.stack(hidden, dim=2), state[0]


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

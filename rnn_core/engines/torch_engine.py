"""The torch engine: the same networks, every product batched over the stack, gradients by autograd.

The arithmetic of the layers is written once more here, forward only, over a leading model axis, which torch's own
recurrent modules do not have.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rnn_core import optim
from rnn_core.arrays import Array, Params
from rnn_core.config import Model, Training
from rnn_core.engines import Inputs, Tally, Targets, rule_of
from rnn_core.errors import ConfigError
from rnn_core.layers import dropout

Tensors = dict[str, Tensor]


class TorchEngine:
    """A stack of M models whose parameters are the rows of one (M, P) tensor."""

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
        self._tensor = partial(torch.as_tensor, device=training.device)
        self._model, self._inputs, self._targets, self._rngs = model, inputs, targets, rngs
        self._shapes = {name: value.shape[1:] for name, value in params.items()}
        flat = np.concatenate([value.reshape(len(value), -1) for value in params.values()], axis=1)
        self._flat = self._tensor(flat).clone()
        self._rule = rule_of(training)
        self._state = optim.start(self._rule, self._flat)
        self._updates = 0
        self.frozen = np.full(len(flat), -1)

    @property
    def params(self) -> Params:
        """A copy of the present parameters, {name: (M, …)}."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self._unflatten(self._flat).items()}

    def train_epoch(self, rows: Array, rate: Array) -> Array:
        """Update on batches of `rows` (M, steps, B) at `rate` (M,); returns each model's mean training loss (M,)."""
        tally = Tally(len(rows))
        for step in range(rows.shape[1]):
            flat = self._flat.detach().requires_grad_()
            loss, mask = self._loss(flat, rows[:, step], self._rngs)
            (grads,) = torch.autograd.grad(loss.sum(), flat)
            moves = tally.add(loss.detach().cpu().numpy(), mask, self.frozen < 0)
            finite = optim.update(self._rule, self._flat, grads, self._state, moves, rate)
            self.frozen[moves & ~finite] = self._updates + step
        self._updates += rows.shape[1]
        return tally.mean

    def loss(self, rows: Array) -> Array:
        """Mean loss of each model (M,) over `rows` (M, v)."""
        with torch.no_grad():
            losses: Array = self._loss(self._flat, rows, None)[0].cpu().numpy()
        return losses

    def _loss(self, flat: Tensor, rows: Array, rngs: Sequence[np.random.Generator] | None) -> tuple[Tensor, Array]:
        """Mean loss of each model (M,) over the batch `rows` (M, B), and what of it was scored (M, B, S)."""
        models = np.arange(len(rows))
        y, mask = self._targets.batch(rows)
        x = self._tensor(self._inputs.batch(models, rows))
        logits = _network(self._unflatten(flat), x, self._model, rngs)
        scored = self._tensor(mask)[..., None]
        aim = torch.where(scored, self._tensor(y), 0)
        each = functional.binary_cross_entropy_with_logits(logits, aim, reduction="none")
        total = torch.where(scored, each, 0).flatten(1).sum(1)
        count = scored.expand_as(each).flatten(1).sum(1).clip(min=1)
        return total / count, mask

    def _unflatten(self, flat: Tensor) -> Tensors:
        sizes = [int(np.prod(shape)) for shape in self._shapes.values()]
        pieces = torch.split(flat, sizes, dim=1)
        return {
            name: piece.reshape(len(flat), *shape)
            for (name, shape), piece in zip(self._shapes.items(), pieces, strict=True)
        }


def _network(params: Tensors, x: Tensor, model: Model, rngs: Sequence[np.random.Generator] | None) -> Tensor:
    """Logits (M, N, 1, O) of x (M, N, T, I), as `rnn_core.network.network`."""
    directions = ("", "_reverse") if model.bidirectional else ("",)
    for layer in range(model.num_layers):
        if layer > 0 and model.dropout > 0 and rngs is not None:
            x = x * _dropout_scale(x, model.dropout, rngs)
        scans = [_scan(params, x, model.cell, f"l{layer}{direction}") for direction in directions]
        x = torch.cat([hidden for hidden, _ in scans], dim=-1)
        last = torch.cat([final for _, final in scans], dim=-1)  # (M, N, D·H)
    return torch.baddbmm(params["head.bias"][:, None], last, params["head.weight"].mT)[:, :, None]


def _dropout_scale(x: Tensor, p: float, rngs: Sequence[np.random.Generator]) -> Tensor:
    """0 or 1 / (1 − p) for each element of x (M, N, T, D·H), the same that the NumPy layers draw."""
    models, rows, steps, width = x.shape
    scale, _ = dropout(np.ones((models, steps, rows, width)), p, rngs)
    return torch.as_tensor(scale, dtype=x.dtype, device=x.device).transpose(1, 2)


def _scan(params: Tensors, x: Tensor, cell: str, suffix: str) -> tuple[Tensor, Tensor]:
    """One direction of one layer: hidden states (M, N, T, H) of x (M, N, T, I) and the last one (M, N, H)."""
    models, rows, steps, width = x.shape
    weight_ih, weight_hh = params[f"weight_ih_{suffix}"], params[f"weight_hh_{suffix}"].mT
    nothing = weight_ih.new_zeros(weight_ih.shape[:2])
    bias_ih, bias_hh = (params.get(f"bias_{side}_{suffix}", nothing)[:, None] for side in ("ih", "hh"))
    projected = torch.baddbmm(bias_ih, x.reshape(models, rows * steps, width), weight_ih.mT)
    inputs = projected.reshape(models, rows, steps, -1).unbind(2)
    order = range(steps)[::-1] if suffix.endswith("_reverse") else range(steps)
    h = c = x.new_zeros(models, rows, weight_hh.shape[1])
    hidden: list[Tensor] = [h] * steps
    for t in order:
        recurrent = torch.baddbmm(bias_hh, h, weight_hh)
        if cell == "lstm":
            i, f, g, o = (inputs[t] + recurrent).chunk(4, dim=-1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        elif cell == "gru":
            (ir, iz, candidate), (hr, hz, kept) = inputs[t].chunk(3, dim=-1), recurrent.chunk(3, dim=-1)
            update = (iz + hz).sigmoid()
            h = update * h + (1 - update) * (candidate + (ir + hr).sigmoid() * kept).tanh()
        else:
            h = _activate(cell, inputs[t] + recurrent, params.get(f"slope_{suffix}"))
        hidden[t] = h
    return torch.stack(hidden, dim=2), h


def _activate(cell: str, z: Tensor, slope: Tensor | None) -> Tensor:
    if cell == "rnn_prelu" and slope is not None:
        return torch.where(z > 0, z, slope.reshape(-1, 1, 1) * z)
    return {"rnn_tanh": torch.tanh, "rnn_relu": torch.relu, "rnn_sigmoid": torch.sigmoid}[cell](z)

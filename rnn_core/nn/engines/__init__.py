"""The engines that train a stack of models: one interface, in NumPy and in torch.

An engine holds the parameters and the optimiser state of M models. Its caller says which rows each
model sees, by number and in order, and at which learning rate, so both engines see the same
batches.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from rnn_core.errors import ConfigError
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.losses import LossName
from rnn_core.nn.optim import Rule
from rnn_core.nn.settings import Model, Training


@dataclass(frozen=True)
class Inputs:
    """The N windows that a stack reads, x (N, T, I), and how each model standardises them.

    `center` and `scale` are (M, I); a model sees (x − center) / scale. `lengths` (N,) are the valid
    steps of each window, all of them if None.
    """

    x: Array
    center: Array
    scale: Array
    lengths: Array | None = None

    def of(self, models: Array) -> "Inputs":
        """Return the same windows as `models` (m,) of the stack see them."""
        return replace(self, center=self.center[models], scale=self.scale[models])

    def batch(self, models: Array, rows: Array) -> tuple[Array, Array | None]:
        """Return `rows` (m, B) as `models` (m,) see them, (m, B, T, I), and their lengths (m, B).

        Row −1 is padding and may hold anything. More axes may come before m.
        """
        center = self.center[models, None, None]
        scale = self.scale[models, None, None]
        x = (self.x[rows] - center) / scale
        lengths = None if self.lengths is None else self.lengths[rows]
        return x, lengths


@dataclass(frozen=True)
class Targets:
    """The targets of the N windows at S steps, and how predictions are scored.

    Attributes:
        y: (N, S, O) targets.
        mask: (N, S) which steps are scored.
        loss: the loss that scores them.
        class_weights: (C,) as the loss takes them; all 1 if None.
    """

    y: Array
    mask: Array
    loss: LossName = "binary_cross_entropy"
    class_weights: Array | None = None

    def batch(self, rows: Array) -> tuple[Array, Array]:
        """Return targets (m, B, S, O) and mask (m, B, S) of `rows` (m, B).

        Row −1 is padding and is never scored.
        """
        return self.y[rows], self.mask[rows] & (rows >= 0)[..., None]


class Engine(Protocol):
    """A stack of M models in training."""

    @property
    def params(self) -> Params:
        """Return a copy of the current parameters, {name: (M, …)}."""
        ...

    @property
    def frozen(self) -> Array:
        """Return the update (M,) at which a model's gradient or step turned non-finite, else −1.

        A frozen model stays at its last finite parameters and takes no further update.
        """
        ...

    @property
    def kernel(self) -> bool:
        """Return whether the compiled kernel computes."""
        ...

    def train(self, rows: Array, rate: Array) -> Array:
        """Train for E epochs on batches of `rows` (M, E, steps, B), padded with −1.

        `rate` (M, E) are the learning rates. Returns the mean training losses (M, E). A model
        without rows in a step takes no update there; without any row in an epoch its loss is NaN.
        """
        ...

    def loss(self, rows: Array) -> Array:
        """Return the mean loss of each model (M,) over `rows` (M, v), NaN without a row.

        Nothing is learned or dropped out.
        """
        ...

    @property
    def state(self) -> dict[str, Array]:
        """Return a copy of everything that training changes, as NumPy arrays, for a checkpoint."""
        ...

    @state.setter
    def state(self, state: dict[str, Array]) -> None: ...


def mean_loss(losses: Array, scored: Array) -> Array:
    """Return the mean (m,) of the `losses` (steps, m) of batches; NaN if nothing was scored.

    Each batch counts by the elements that it `scored` (steps, m). The sum runs step by step, so
    steps that score nothing change no bit of it.
    """
    counted = np.where(scored > 0, losses, 0) * scored
    total = np.cumsum(counted, axis=0)[-1]
    count = scored.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count() -> int:
    """Return the threads of an engine: OMP_NUM_THREADS, as for BLAS, else one per core."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if asked.isdecimal() and int(asked):
        return int(asked)
    return usable_cores()


def rule_of(training: Training) -> Rule:
    """Return the update rule that the configuration asks for."""
    return Rule(
        name=training.optimiser,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        clip_norm=training.clip_norm,
        clip_value=training.clip_value,
    )


def start(
    model: Model,
    training: Training,
    inputs: Inputs,
    targets: Targets,
    params: Params,
    rngs: Sequence[np.random.Generator],
) -> Engine:
    """Return the engine that `training.engine` names, holding `params` {name: (M, …)}.

    `rngs`, one per model, draw the dropout.

    Raises:
        ConfigError: `training.engine` is torch, which is not installed.
    """
    if training.engine == "torch":
        if find_spec("torch") is None:
            raise ConfigError(
                "training.engine is torch, which is not installed; pip install torch, or use numpy"
            )
        from rnn_core.nn.engines.torch_engine import TorchEngine

        return TorchEngine(model, training, inputs, targets, params, rngs)
    from rnn_core.nn.engines.numpy_engine import NumpyEngine

    return NumpyEngine(model, training, inputs, targets, params, rngs)

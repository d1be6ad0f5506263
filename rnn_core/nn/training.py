"""Fit a stack: every seed of every fold is one model, and all of them train together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from rnn_core.errors import TrainingError
from rnn_core.nn import engines
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines import Targets
from rnn_core.nn.network import initial_params
from rnn_core.nn.scaling import _inputs
from rnn_core.nn.schedule import Schedule
from rnn_core.nn.sequences import Folds, Sequences, base_rates
from rnn_core.nn.settings import Model, Training

AHEAD = 2**18  # rows of the epochs that are trained in one call, where nothing is asked for in between

OnEpoch = Callable[[int, Array, Array], None]
"""Told (epoch from 1, training loss (M,), validation loss (M,)) after each epoch; NaN for models that have stopped."""


@dataclass(frozen=True)
class Fit:
    """M = K × seeds trained models; model `k * seeds + s` is seed s of fold k.

    Attributes:
        params: {name: (M, …)} of each model's best epoch by validation loss; of the last without `patience`.
        center, scale: (M, I) the standardisation of the inputs, from the training rows alone.
        train_loss, valid_loss: (M, epochs) in nats, NaN from where a model stopped.
        frozen: (M,) the update at which a model turned non-finite, −1 for those that did not.
        base_rate: (M,) mean label of the training rows: how often the next session closed up.
        model, training: the configuration it was fitted with.
        kernel: whether the compiled kernel trained them.
    """

    params: Params
    center: Array
    scale: Array
    train_loss: Array
    valid_loss: Array
    frozen: Array
    base_rate: Array
    model: Model
    training: Training
    kernel: bool = False

    def __len__(self) -> int:
        return len(self.center)

    @property
    def losses(self) -> tuple[Array, Array]:
        """Mean training and validation loss by epoch (E,) over the usable models, each as it was when it stopped."""
        import pandas as pd  # half a second, which training itself does without

        usable = self.frozen < 0
        epochs = int(np.isfinite(self.train_loss[usable]).any(axis=0).sum())
        both = self.train_loss[usable, :epochs], self.valid_loss[usable, :epochs]
        train, valid = (pd.DataFrame(loss).ffill(axis=1) for loss in both)
        return train.mean().to_numpy(), valid.mean().to_numpy()

    @property
    def lost(self) -> list[int]:
        """Numbers of the models that turned non-finite."""
        return [int(m) for m in np.flatnonzero(self.frozen >= 0)]

    @property
    def live(self) -> "Fit":
        """The models of the last fold alone: those that predict tomorrow."""
        last = slice(len(self) - self.training.seeds, None)
        return replace(
            self,
            params={name: value[last] for name, value in self.params.items()},
            center=self.center[last],
            scale=self.scale[last],
            train_loss=self.train_loss[last],
            valid_loss=self.valid_loss[last],
            frozen=self.frozen[last],
            base_rate=self.base_rate[last],
        )

    @property
    def engine(self) -> str:
        """What computed: numpy, numpy with the compiled kernel, or torch."""
        return "numpy, compiled kernel" if self.kernel else self.training.engine


@dataclass
class Checkpoint:
    """A training that was interrupted after an epoch: everything it needs to go on as if it had not been.

    Attributes:
        epoch: epochs done.
        arrays: by name, the engine's state, the best parameters, the losses and the schedule's memory.
        streams: the states of the random streams, JSON values by purpose.
    """

    epoch: int
    arrays: dict[str, Array]
    streams: dict[str, list[Any]]


def fit(
    model: Model,
    training: Training,
    sequences: Sequences,
    folds: Folds,
    *,
    params0: Params | None = None,
    order: Array | None = None,
    on_epoch: OnEpoch | None = None,
    resume: Checkpoint | None = None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
) -> Fit:
    """Train `training.seeds` models on each fold, each until its validation loss stops improving.

    What a model learns depends on its fold's rows, its seed and the configuration, and on nothing else in the stack.
    `params0`, {name: (M, …)}, replaces the values drawn at the start, and `order` (epochs, M, n) the shuffles: the rows
    of each epoch, padded with −1. `on_epoch` is called after each epoch.
    `on_checkpoint` is given what `resume` takes: a training that is resumed ends with the same bits as one that was
    never stopped.

    Raises:
        ConfigError: the engine asked for is not installed, or cannot do what the configuration asks.
        TrainingError: every model of a fold turned non-finite.
    """
    train, valid = (np.repeat(rows, training.seeds, axis=0) for rows in (folds.train, folds.valid))
    models, epochs = len(train), training.epochs
    drawn = {"initial": params0 is None, "order": order is None, "dropout": model.dropout > 0}
    streams = {name: _streams(name, training, len(folds)) if asked else [] for name, asked in drawn.items()}
    inputs = _inputs(sequences, train, training.dtype)
    if params0 is None:
        sizes = sequences.x.shape[-1], sequences.y.shape[-1]
        params0 = initial_params(model, *sizes, streams["initial"], training.dtype)
    engine = engines.start(model, training, inputs, _targets(sequences, training), params0, streams["dropout"])
    schedule = Schedule(training, models)

    best = engine.params
    best_loss, best_epoch = np.full(models, np.inf), np.zeros(models, dtype=int)
    train_loss, valid_loss = np.full((2, models, epochs), np.nan)
    history = {"best_loss": best_loss, "best_epoch": best_epoch, "train_loss": train_loss, "valid_loss": valid_loss}
    kept = {"best": best, "history": history, "schedule": schedule.memory}
    first = 0 if resume is None else _resume(resume, engine, kept, streams)
    watched = bool(valid.size or on_epoch or on_checkpoint) or training.patience is not None or schedule.listens
    ahead = 1 if watched else max(1, AHEAD // max(1, train.size))
    for epoch in range(first, epochs, ahead):
        learning = engine.frozen < 0
        if training.patience is not None:
            learning &= epoch - best_epoch <= training.patience
        if not learning.any():
            break
        span = range(epoch, min(epoch + ahead, epochs))
        rows = np.stack([_shuffled(train, streams["order"]) if order is None else order[e] for e in span], axis=1)
        rows[~learning] = -1
        rate = np.stack([schedule.rate(e) for e in span], axis=1)
        train_loss[:, span] = engine.train(_batches(rows, training.batch_size), rate)
        valid_loss[:, epoch] = engine.loss(np.where(learning[:, None], valid, -1))
        if training.patience is not None and (better := valid_loss[:, epoch] < best_loss).any():
            best_loss[better], best_epoch[better] = valid_loss[better, epoch], epoch
            for name, value in engine.params.items():
                best[name][better] = value[better]
        schedule.hear(valid_loss[:, epoch])
        if on_epoch is not None:
            on_epoch(epoch + 1, train_loss[:, epoch], valid_loss[:, epoch])
        if on_checkpoint is not None:
            on_checkpoint(_checkpoint(epoch + 1, engine, kept, streams))
    if training.patience is None:
        best = engine.params
    _refuse_lost_folds(engine.frozen, training.seeds)
    rates = base_rates(sequences, train)
    losses = train_loss, valid_loss
    return Fit(best, inputs.center, inputs.scale, *losses, engine.frozen, rates, model, training, engine.kernel)


def _targets(sequences: Sequences, training: Training) -> Targets:
    weights = None if training.class_weights is None else np.array(training.class_weights)
    return Targets(sequences.y.astype(training.dtype), sequences.mask, sequences.loss, weights)


def _checkpoint(
    epoch: int, engine: engines.Engine, kept: dict[str, dict[str, Array]], streams: dict[str, list[np.random.Generator]]
) -> Checkpoint:
    parts = kept | {"engine": engine.state}
    arrays = {f"{part}/{name}": value.copy() for part, own in parts.items() for name, value in own.items()}
    return Checkpoint(
        epoch, arrays, {name: [rng.bit_generator.state for rng in rngs] for name, rngs in streams.items()}
    )


def _resume(
    checkpoint: Checkpoint,
    engine: engines.Engine,
    kept: dict[str, dict[str, Array]],
    streams: dict[str, list[np.random.Generator]],
) -> int:
    """Put everything back as it was; returns how many epochs are done."""
    for part, own in kept.items():
        for name, value in own.items():
            value[...] = checkpoint.arrays[f"{part}/{name}"]
    engine.state = {name: checkpoint.arrays[f"engine/{name}"] for name in engine.state}
    for name, rngs in streams.items():
        for rng, state in zip(rngs, checkpoint.streams[name], strict=True):
            rng.bit_generator.state = state
    return checkpoint.epoch


def _streams(name: str, training: Training, folds: int) -> list[np.random.Generator]:
    """One Generator a model for the purpose `name`, the same whatever else is in the stack."""
    return [
        np.random.default_rng(np.random.SeedSequence(training.seed, spawn_key=(crc32(name.encode()), fold, seed)))
        for fold in range(folds)
        for seed in range(training.seeds)
    ]


def _shuffled(train: Array, rngs: Sequence[np.random.Generator]) -> Array:
    """The rows (M, n) in a fresh order for each model, the padding (−1) still at the end."""
    order = np.full_like(train, -1)
    for shuffled, rows, rng in zip(order, train, rngs, strict=True):
        rows = rows[rows >= 0]
        shuffled[: len(rows)] = rng.permutation(rows)
    return order


def _batches(rows: Array, batch_size: int) -> Array:
    """The rows (…, n) as (…, steps, batch_size), padded with −1."""
    *stack, count = rows.shape
    whole = np.full((*stack, -(-count // batch_size), batch_size), -1)
    whole.reshape(*stack, -1)[..., :count] = rows
    return whole


def _refuse_lost_folds(frozen: Array, seeds: int) -> None:
    lost = np.flatnonzero((frozen.reshape(-1, seeds) >= 0).all(axis=1))
    if len(lost):
        names, first = ", ".join(map(str, lost)), frozen[frozen >= 0].min()
        raise TrainingError(
            f"every model of fold {names} turned non-finite, the first after {first} updates; "
            "lower training.learning_rate or set training.clip_norm"
        )

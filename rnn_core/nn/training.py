"""Fit a stack: every seed of every fold is one model, and all of them train together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from rnn_core.errors import TrainingError
from rnn_core.nn import engines
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines import Inputs, Targets, numpy_engine
from rnn_core.nn.losses import sigmoid
from rnn_core.nn.network import initial_params
from rnn_core.nn.sequences import Folds, Sequences
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


class Schedule:
    """The learning rate of each model by epoch.

    cosine is torch's CosineAnnealingLR down to 0 over all epochs (Loshchilov and Hutter 2017); plateau is torch's
    ReduceLROnPlateau: a lower loss is one lower by a factor of 1 − THRESHOLD, and a cut smaller than EPS is not made.
    """

    THRESHOLD = 1e-4
    EPS = 1e-8

    def __init__(self, training: Training, models: int) -> None:
        self._training = training
        rate = np.full(models, training.learning_rate)
        self.memory = {"rate": rate, "lowest": np.full(models, np.inf), "waited": np.zeros(models, dtype=int)}

    @property
    def listens(self) -> bool:
        """Whether the rate depends on the losses that it hears."""
        return self._training.schedule == "plateau"

    def rate(self, epoch: int) -> Array:
        """(M,) the learning rate in `epoch`, counted from 0."""
        if self._training.schedule == "cosine":
            return np.asarray(self.memory["rate"] * (1 + np.cos(np.pi * epoch / self._training.epochs)) / 2)
        return self.memory["rate"].copy()

    def hear(self, valid_loss: Array) -> None:
        """Take note of an epoch's validation losses (M,), NaN for models that have stopped."""
        if not self.listens:
            return
        rate, lowest, waited = self.memory.values()
        lower = valid_loss < lowest * (1 - self.THRESHOLD)
        lowest[lower] = valid_loss[lower]
        waited += 1
        waited[lower] = 0
        stalled = waited > self._training.plateau_patience
        waited[stalled] = 0
        lower_rate = rate * self._training.plateau_factor
        rate[...] = np.where(stalled & (rate - lower_rate > self.EPS), lower_rate, rate)


def predict(fit: Fit, x: Array, rows: Array, lengths: Array | None = None) -> Array:
    """Logits (M, s, S, O) of `rows` (M, s) of the windows x (N, T, I); NaN at padding (−1) and for frozen models.

    Always computed by the NumPy engine, whichever engine trained: what is evaluated is, bit for bit, what is served.
    """
    inputs = Inputs(x.astype(fit.training.dtype), fit.center, fit.scale, lengths)
    logits = numpy_engine.predict(fit.model, fit.params, inputs, rows)
    usable = (rows >= 0) & (fit.frozen < 0)[:, None]
    return np.where(usable[..., None, None], logits, np.nan)


def out_of_sample(fit: Fit, sequences: Sequences, folds: Folds) -> Array:
    """Logits (M, s, S, O) of every fold's test rows by the models of that fold, as `predict` gives them."""
    return predict(fit, sequences.x, folds.test.repeat(fit.training.seeds, axis=0), sequences.lengths)


def call(live: Fit, x: Array) -> tuple[float, float]:
    """Probability that the session after the one window x (1, T, I) closes up, and its spread over the seeds."""
    logits = predict(live, x, np.zeros((len(live), 1), dtype=int))
    probability, spread = ensemble(logits[:, :, 0, 0].T, live.base_rate[:1], live.training.shrinkage)
    return float(probability[0]), float(spread[0])


def ensemble(logits: Array, base_rate: Array, shrinkage: float) -> tuple[Array, Array]:
    """The probability (n,) that is served, and its spread (n,) over the seeds, from logits (n, seeds).

    It is the mean over the seeds, drawn by `shrinkage` towards the training base rate (n,): a mean of few networks is
    over-confident. The spread is their standard deviation. Frozen models (NaN) are left out.
    """
    each = sigmoid(np.ascontiguousarray(logits))
    mean = np.nanmean(each, axis=1)
    return mean + shrinkage * (base_rate - mean), np.nanstd(each, axis=1)


def base_rates(sequences: Sequences, train: Array) -> Array:
    """(M,) mean target over the scored steps of each model's training rows `train` (M, n)."""
    scored = [(rows[rows >= 0], sequences.mask[rows[rows >= 0]]) for rows in train]
    return np.array([sequences.y[rows][mask].mean() for rows, mask in scored])


def standardised(x: Array, train: Array, dtype: str, lengths: Array | None = None) -> Inputs:
    """The windows x (N, T, I) with each model's mean and standard deviation over its training rows `train` (M, n).

    Only the valid steps count, `lengths` (N,). A feature that does not vary is centred and not scaled.
    """
    valid = np.arange(x.shape[1]) < (np.full(len(x), x.shape[1]) if lengths is None else lengths)[:, None]  # (N, T)
    moments = []
    for rows in train:
        chosen = rows[rows >= 0]
        seen = x[chosen][valid[chosen]]  # (steps, I)
        spread = seen.std(axis=0)
        moments.append((seen.mean(axis=0), np.where(spread > 0, spread, 1)))
    center, scale = np.stack(moments, axis=1).astype(dtype)
    return Inputs(x.astype(dtype), center, scale, lengths)


def _inputs(sequences: Sequences, train: Array, dtype: str) -> Inputs:
    if not sequences.raw:
        return standardised(sequences.x, train, dtype, sequences.lengths)
    nothing = np.zeros((len(train), sequences.x.shape[-1]), dtype)
    return Inputs(sequences.x.astype(dtype), nothing, nothing + 1, sequences.lengths)


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

"""Fit a stack: every seed of every fold is one model, and all of them train together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd

from rnn_core import engines
from rnn_core.arrays import Array, Params
from rnn_core.config import Model, Training
from rnn_core.engines import Inputs, Targets, numpy_engine
from rnn_core.errors import TrainingError
from rnn_core.folds import Folds
from rnn_core.losses import sigmoid
from rnn_core.network import initial_params
from rnn_core.problems import Windows

OnEpoch = Callable[[int, Array, Array], None]
"""Told (epoch from 1, training loss (M,), validation loss (M,)) after each epoch; NaN for models that have stopped."""


@dataclass(frozen=True)
class Fit:
    """M = K × seeds trained models; model `k * seeds + s` is seed s of fold k.

    Attributes:
        params: {name: (M, …)} of each model's best epoch by validation loss.
        center, scale: (M, I) the standardisation of the inputs, from the training rows alone.
        train_loss, valid_loss: (M, epochs) in nats, NaN from where a model stopped.
        frozen: (M,) the update at which a model turned non-finite, −1 for those that did not.
        model, training: the configuration it was fitted with.
    """

    params: Params
    center: Array
    scale: Array
    train_loss: Array
    valid_loss: Array
    frozen: Array
    model: Model
    training: Training

    def __len__(self) -> int:
        return len(self.center)

    @property
    def losses(self) -> tuple[Array, Array]:
        """Mean training and validation loss by epoch (E,) over the models, each counting as it was when it stopped."""
        epochs = int(np.isfinite(self.valid_loss).any(axis=0).sum())
        train, valid = (pd.DataFrame(loss[:, :epochs]).ffill(axis=1) for loss in (self.train_loss, self.valid_loss))
        return train.mean().to_numpy(), valid.mean().to_numpy()

    @property
    def live(self) -> "Fit":
        """The models of the last fold alone: those that predict tomorrow."""
        last = slice(len(self) - self.training.seeds, None)
        return Fit(
            params={name: value[last] for name, value in self.params.items()},
            center=self.center[last],
            scale=self.scale[last],
            train_loss=self.train_loss[last],
            valid_loss=self.valid_loss[last],
            frozen=self.frozen[last],
            model=self.model,
            training=self.training,
        )


def fit(
    model: Model,
    training: Training,
    windows: Windows,
    folds: Folds,
    *,
    params0: Params | None = None,
    on_epoch: OnEpoch | None = None,
) -> Fit:
    """Train `training.seeds` models on each fold, each until its validation loss stops improving.

    What a model learns depends on its fold's rows, its seed and the configuration, and on nothing else in the stack.
    `params0`, {name: (M, …)}, replaces the values drawn at the start; `on_epoch` is called after each epoch.

    Raises:
        ConfigError: the engine asked for is not installed.
        TrainingError: every model of a fold turned non-finite.
    """
    train, valid = (np.repeat(rows, training.seeds, axis=0) for rows in (folds.train, folds.valid))
    streams = {name: _streams(name, training, len(folds)) for name in ("initial", "order", "dropout")}
    inputs = standardised(windows.x, train, training.dtype)
    targets = Targets(windows.y.astype(training.dtype), windows.mask)
    if params0 is None:
        sizes = windows.x.shape[-1], windows.y.shape[-1]
        params0 = initial_params(model, *sizes, streams["initial"], training.dtype)
    engine = engines.start(model, training, inputs, targets, params0, streams["dropout"])

    best = engine.params
    rate = np.full(len(train), training.learning_rate)
    best_loss, best_epoch = np.full(len(train), np.inf), np.zeros(len(train), dtype=int)
    train_loss, valid_loss = np.full((2, len(train), training.epochs), np.nan)
    for epoch in range(training.epochs):
        learning = (epoch - best_epoch <= training.patience) & (engine.frozen < 0)
        if not learning.any():
            break
        order = _batches(train, streams["order"], training.batch_size)
        train_loss[:, epoch] = engine.train_epoch(np.where(learning[:, None, None], order, -1), rate)
        valid_loss[:, epoch] = np.where(learning, engine.loss(valid), np.nan)
        better = valid_loss[:, epoch] < best_loss
        best_loss[better], best_epoch[better] = valid_loss[better, epoch], epoch
        for name, value in engine.params.items():
            best[name][better] = value[better]
        if on_epoch is not None:
            on_epoch(epoch + 1, train_loss[:, epoch], valid_loss[:, epoch])
    _refuse_lost_folds(engine.frozen, training.seeds)
    return Fit(best, inputs.center, inputs.scale, train_loss, valid_loss, engine.frozen, model, training)


def predict(fit: Fit, x: Array, rows: Array) -> Array:
    """Logits (M, s, S, O) of `rows` (M, s) of the windows x (N, T, I); NaN at padding (−1) and for frozen models.

    Always computed by the NumPy engine, whichever engine trained: what is evaluated is, bit for bit, what is served.
    """
    inputs = Inputs(x.astype(fit.training.dtype), fit.center, fit.scale)
    logits = numpy_engine.predict(fit.model, fit.params, inputs, rows)
    usable = (rows >= 0) & (fit.frozen < 0)[:, None]
    return np.where(usable[..., None, None], logits, np.nan)


def call(live: Fit, x: Array) -> tuple[float, float]:
    """Probability that the session after the one window x (1, T, I) closes up, and its spread over the seeds."""
    logits = predict(live, x, np.zeros((len(live), 1), dtype=int))
    probability, spread = ensemble(logits[:, :, 0, 0].T)
    return float(probability[0]), float(spread[0])


def ensemble(logits: Array) -> tuple[Array, Array]:
    """Probability (n,) that the next session closes up, and its spread (n,) over the seeds, from logits (n, seeds).

    The probability is the mean over the seeds and the spread their standard deviation; frozen models (NaN) are
    left out.
    """
    each = sigmoid(np.ascontiguousarray(logits))
    return np.nanmean(each, axis=1), np.nanstd(each, axis=1)


def standardised(x: Array, train: Array, dtype: str) -> Inputs:
    """The windows x (N, T, I) with each model's mean and standard deviation over its training rows `train` (M, n).

    A feature that does not vary there is centred and not scaled.
    """
    moments = []
    for rows in train:
        seen = x[rows[rows >= 0]].reshape(-1, x.shape[-1])
        spread = seen.std(axis=0)
        moments.append((seen.mean(axis=0), np.where(spread > 0, spread, 1)))
    center, scale = np.stack(moments, axis=1).astype(dtype)
    return Inputs(x.astype(dtype), center, scale)


def _streams(name: str, training: Training, folds: int) -> list[np.random.Generator]:
    """One Generator a model for the purpose `name`, the same whatever else is in the stack."""
    return [
        np.random.default_rng(np.random.SeedSequence(training.seed, spawn_key=(crc32(name.encode()), fold, seed)))
        for fold in range(folds)
        for seed in range(training.seeds)
    ]


def _batches(train: Array, rngs: Sequence[np.random.Generator], batch_size: int) -> Array:
    """One epoch's rows in a fresh order for each model, (M, steps, batch_size), padded with −1."""
    models, width = train.shape
    order = np.full((models, -(-width // batch_size) * batch_size), -1)
    for shuffled, rows, rng in zip(order, train, rngs, strict=True):
        rows = rows[rows >= 0]
        shuffled[: len(rows)] = rng.permutation(rows)
    return order.reshape(models, -1, batch_size)


def _refuse_lost_folds(frozen: Array, seeds: int) -> None:
    lost = np.flatnonzero((frozen.reshape(-1, seeds) >= 0).all(axis=1))
    if len(lost):
        names, first = ", ".join(map(str, lost)), frozen[frozen >= 0].min()
        raise TrainingError(
            f"every model of fold {names} turned non-finite, the first after {first} updates; "
            "lower training.learning_rate or set training.clip_norm"
        )

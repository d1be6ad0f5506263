"""Fit a stack: every seed of every fold is one model, and all of them train together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from rnn_core.errors import ArrayError, TrainingError
from rnn_core.nn import engines
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.checks import check_learnable
from rnn_core.nn.early_stopping import EarlyStopping
from rnn_core.nn.engines import Engine, Targets
from rnn_core.nn.network import initial_params
from rnn_core.nn.scaling import inputs_of
from rnn_core.nn.schedule import Schedule
from rnn_core.nn.sequences import Folds, Sequences, base_rates
from rnn_core.nn.settings import Model, Training
from rnn_core.nn.streams import Streams

AHEAD = 2**18  # rows to train in one call of the engine, if nothing is asked for between epochs

OnEpoch: TypeAlias = Callable[[int, Array, Array], None]
"""Takes (epoch from 1, training loss (M,), validation loss (M,)), NaN for stopped models."""

Rngs: TypeAlias = Sequence[np.random.Generator]


@dataclass(frozen=True)
class Fit:
    """M = K × seeds trained models; model `k * seeds + s` is seed s of fold k.

    Attributes:
        params: {name: (M, …)} after each model's best epoch by validation loss; without
            `training.patience` after the last epoch.
        center, scale: (M, I) the standardisation of the inputs, from the training rows alone.
        train_loss, valid_loss: (M, epochs) NaN from where a model stopped; in nats, or of a squared
            error in the squared unit of the targets.
        frozen: (M,) the update at which a model turned non-finite, −1 for those that did not.
        base_rate: (M,) mean label of the training rows: how often the next session closed up.
        model, training: the configuration it was fitted with.
        kernel: True if the compiled kernel trained them.
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
        """Mean training and validation loss by epoch, each (E,), over the models not frozen.

        A model that stopped counts with its last loss.
        """
        usable = self.frozen < 0
        trained = np.isfinite(self.train_loss[usable]).any(axis=0)
        epochs = int(trained.sum())
        train_loss = self.train_loss[usable, :epochs]
        valid_loss = self.valid_loss[usable, :epochs]
        return _mean_of_models(train_loss), _mean_of_models(valid_loss)

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
    """A training after some epoch: all that is needed to go on as if it had not been interrupted.

    Attributes:
        epoch: epochs done.
        arrays: the state of the engine, the best parameters, the losses and the schedule, by name.
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

    What a model learns depends on its fold's rows, its seed and the configuration, and on no other
    model of the stack. A training that is resumed ends with the same bits as an uninterrupted one.

    Args:
        model: the network.
        training: how it is trained.
        sequences: N sequences with their targets.
        folds: the rows of K folds that train and validate.
        params0: {name: (M, …)} initial parameters, instead of drawn ones.
        order: (epochs, M, n) the rows of each epoch in order, padded with −1, instead of shuffles.
        on_epoch: called after each epoch.
        resume: the checkpoint to go on from.
        on_checkpoint: called after each epoch with what `resume` takes.

    Raises:
        ArrayError: sequences, folds, params0, order or resume do not fit each other, or nothing
            can be learned from them.
        ConfigError: the engine is not installed, or cannot do what the configuration asks.
        TrainingError: every model of a fold turned non-finite.
    """
    check_learnable(model, training, sequences, folds, params0, order)
    fold_of_model = np.arange(len(folds)).repeat(training.seeds)
    train = folds.train[fold_of_model]  # (M, n)
    valid = folds.valid[fold_of_model]  # (M, v)
    drawn = {"initial": params0 is None, "order": order is None, "dropout": model.dropout > 0}
    streams = Streams(training, len(folds), drawn)
    inputs = inputs_of(sequences, folds.train, training.dtype).of(fold_of_model)
    if params0 is None:
        params0 = _initial(model, training, sequences, streams)
    targets = _targets(sequences, training)
    engine = engines.start(model, training, inputs, targets, params0, streams["dropout"])

    progress = _Progress(training, engine, streams)
    first = 0 if resume is None else progress.restore(resume)
    watched = bool(valid.size or on_epoch or on_checkpoint) or progress.needs_every_epoch
    ahead = 1 if watched else max(1, AHEAD // max(1, train.size))
    for epoch in range(first, training.epochs, ahead):
        learning = progress.learning(epoch)
        if not learning.any():
            break
        epochs = range(epoch, min(epoch + ahead, training.epochs))
        rows = _rows(epochs, _only(learning, train), order, streams["order"])
        progress.train(epochs, _batches(_only(learning, rows), training.batch_size))
        progress.validate(epoch, _only(learning, valid))
        if on_epoch is not None:
            on_epoch(epoch + 1, *progress.losses(epoch))
        if on_checkpoint is not None:
            on_checkpoint(progress.checkpoint(epoch + 1))

    _refuse_lost_folds(engine.frozen, training.seeds)
    return Fit(
        params=progress.stopping.chosen_params(engine),
        center=inputs.center,
        scale=inputs.scale,
        train_loss=progress.train_loss,
        valid_loss=progress.valid_loss,
        frozen=engine.frozen,
        base_rate=base_rates(sequences, folds.train)[fold_of_model],
        model=model,
        training=training,
        kernel=engine.kernel,
    )


class _Progress:
    """A training under way: everything that changes from epoch to epoch."""

    def __init__(self, training: Training, engine: Engine, streams: Streams) -> None:
        models = len(engine.frozen)
        self.engine = engine
        self.streams = streams
        self.schedule = Schedule(training, models)
        self.stopping = EarlyStopping(training.patience, engine)
        self.train_loss = np.full((models, training.epochs), np.nan)
        self.valid_loss = np.full((models, training.epochs), np.nan)
        self.needs_every_epoch = training.patience is not None or self.schedule.needs_losses

    def learning(self, epoch: int) -> Array:
        """Return (M,) True for the models that train in `epoch`: neither frozen nor stopped."""
        return (self.engine.frozen < 0) & ~self.stopping.stopped(epoch)

    def train(self, epochs: range, batches: Array) -> None:
        """Train on the rows `batches` (M, E, steps, B)."""
        rates = self.schedule.rates(epochs)
        self.train_loss[:, epochs] = self.engine.train(batches, rates)

    def validate(self, epoch: int, rows: Array) -> None:
        """Compute the loss over `rows` (M, v), which stopping and schedule go by."""
        self.valid_loss[:, epoch] = self.engine.loss(rows)
        self.stopping.observe(epoch, self.valid_loss[:, epoch], self.engine)
        self.schedule.observe(self.valid_loss[:, epoch])

    def losses(self, epoch: int) -> tuple[Array, Array]:
        """Return training and validation loss (M,) of `epoch`."""
        return self.train_loss[:, epoch], self.valid_loss[:, epoch]

    def checkpoint(self, epochs_done: int) -> Checkpoint:
        """Return a copy of everything."""
        arrays = {}
        for part, values in (self._parts() | {"engine": self.engine.state}).items():
            for name, value in values.items():
                arrays[f"{part}/{name}"] = value.copy()
        return Checkpoint(epochs_done, arrays, self.streams.states)

    def restore(self, checkpoint: Checkpoint) -> int:
        """Put everything back as it was, and return how many epochs are done."""
        arrays = checkpoint.arrays
        _refuse_other_training(checkpoint, self.checkpoint(0))
        for part, values in self._parts().items():
            for name, value in values.items():
                value[...] = arrays[f"{part}/{name}"]
        self.engine.state = {name: arrays[f"engine/{name}"] for name in self.engine.state}
        self.streams.states = checkpoint.streams
        return checkpoint.epoch

    def _parts(self) -> dict[str, dict[str, Array]]:
        """Return the changing arrays by part and name, the names in a checkpoint's file."""
        history = {
            "best_loss": self.stopping.best_loss,
            "best_epoch": self.stopping.best_epoch,
            "train_loss": self.train_loss,
            "valid_loss": self.valid_loss,
        }
        best = self.stopping.best_params
        return {"best": best, "history": history, "schedule": self.schedule.memory}


def _refuse_other_training(checkpoint: Checkpoint, own: Checkpoint) -> None:
    """Refuse a checkpoint whose arrays or streams are not those of the training to resume."""
    for name in sorted(checkpoint.arrays.keys() ^ own.arrays.keys()):
        what = "lacks" if name in own.arrays else "has"
        raise ArrayError(f"resume {what} the array {name}: it is a checkpoint of another training")
    for name, value in own.arrays.items():
        given = checkpoint.arrays[name]
        if given.shape != value.shape or given.dtype != value.dtype:
            raise ArrayError(
                f"resume: {name} is {given.dtype} of shape {given.shape}; {value.dtype} of shape "
                f"{value.shape} is expected"
            )
        if name.startswith(("best/", "engine/params")) and not np.isfinite(given).all():
            raise ArrayError(f"resume: {name} has NaN or infinite values")
    counts = {purpose: len(states) for purpose, states in own.streams.items()}
    if {purpose: len(states) for purpose, states in checkpoint.streams.items()} != counts:
        raise ArrayError(f"resume has other random streams; {counts} are expected")


def _mean_of_models(loss: Array) -> Array:
    """Return the mean (E,) over models of `loss` (M, E), the last loss of each carried forward."""
    known = np.where(np.isnan(loss), 0, np.arange(loss.shape[1]))
    last_known = np.maximum.accumulate(known, axis=1)
    carried = np.take_along_axis(loss, last_known, axis=1)
    by_epoch = np.ascontiguousarray(carried.T)  # (E, M): NumPy then sums in pairs
    count = (~np.isnan(by_epoch)).sum(axis=1)
    mean = np.nansum(by_epoch, axis=1) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)


def _initial(model: Model, training: Training, sequences: Sequences, streams: Streams) -> Params:
    input_size = sequences.x.shape[-1]
    output_size = sequences.y.shape[-1]
    return initial_params(model, input_size, output_size, streams["initial"], training.dtype)


def _targets(sequences: Sequences, training: Training) -> Targets:
    weights = None if training.class_weights is None else np.array(training.class_weights)
    y = sequences.y.astype(training.dtype)
    return Targets(y, sequences.mask, sequences.loss, weights)


def _rows(epochs: range, train: Array, order: Array | None, rngs: Rngs) -> Array:
    """Return the rows (M, E, n) of `epochs`, in the given order or else shuffled for each."""
    if order is not None:
        return np.stack([order[epoch] for epoch in epochs], axis=1)
    return np.stack([_shuffled(train, rngs) for _ in epochs], axis=1)


def _only(learning: Array, rows: Array) -> Array:
    """Return the rows (M, …) of the learning models (M,), nothing but padding for the others."""
    return np.where(learning.reshape(-1, *[1] * (rows.ndim - 1)), rows, -1)


def _shuffled(train: Array, rngs: Rngs) -> Array:
    """Return the rows (M, n) in a fresh order for each model, the padding (−1) still at the end.

    Nothing is drawn for a model without rows: it has stopped, and trains no more.
    """
    shuffled = np.full_like(train, -1)
    for place, padded, rng in zip(shuffled, train, rngs, strict=True):
        rows = padded[padded >= 0]
        if len(rows):
            place[: len(rows)] = rng.permutation(rows)
    return shuffled


def _batches(rows: Array, batch_size: int) -> Array:
    """Return the rows (…, n) as (…, steps, batch_size), padded with −1."""
    *stack, count = rows.shape
    steps = -(-count // batch_size)
    batches = np.full((*stack, steps, batch_size), -1)
    batches.reshape(*stack, -1)[..., :count] = rows
    return batches


def _refuse_lost_folds(frozen: Array, seeds: int) -> None:
    lost = np.flatnonzero((frozen.reshape(-1, seeds) >= 0).all(axis=1))
    if not len(lost):
        return
    folds = ", ".join(map(str, lost))
    first = frozen[frozen >= 0].min()
    raise TrainingError(
        f"every model of fold {folds} turned non-finite, the first after {first} updates; "
        "lower training.learning_rate or set training.clip_norm"
    )

"""The NumPy engine: hand-written backpropagation through time, in chunks of models that stay in cache, on threads.

Where the compiled kernel covers what is asked, it trains and validates instead. Predictions are always NumPy's: what is
evaluated is, bit for bit, what a machine without the kernel serves.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from rnn_core import optim
from rnn_core.arrays import Array, Params
from rnn_core.config import Model, Training
from rnn_core.engines import Inputs, Tally, Targets, kernel, rule_of
from rnn_core.losses import LOSSES
from rnn_core.network import network

Map: TypeAlias = Callable[..., Iterable[Any]]
EXPLODING = np.errstate(over="ignore", invalid="ignore")  # a model that turns non-finite is frozen, not warned of
CHUNK = 32  # models of one pass: their activations fit a core's second-level cache
MICRO_BATCH = 512  # rows of one pass, for the same reason and to share them among threads
PREDICTED_ROWS = 64  # rows of one prediction batch, always: BLAS gives other bits for other batch sizes


class NumpyEngine:
    """A stack of M models whose parameters are the rows of one (M, P) array."""

    def __init__(
        self,
        model: Model,
        training: Training,
        inputs: Inputs,
        targets: Targets,
        params: Params,
        rngs: Sequence[np.random.Generator],
    ) -> None:
        self._model, self._inputs, self._targets, self._rngs = model, inputs, targets, rngs
        self._loss, self._truncate = LOSSES[targets.loss], training.truncate
        self._shapes = {name: value.shape[1:] for name, value in params.items()}
        self._flat = _flatten(params)
        self._rule = rule_of(training)
        self._memory = optim.start(self._rule, self._flat)
        self._updates = 0
        self.frozen = np.full(len(self._flat), -1)
        covered = kernel.uncovered(model, training, inputs, targets, params) is None
        self._kernel = kernel.Kernel(model, self._rule, inputs, targets) if covered else None

    @property
    def kernel(self) -> bool:
        """Whether the compiled kernel trains and validates, not NumPy."""
        return self._kernel is not None

    @property
    def params(self) -> Params:
        """A copy of the present parameters, {name: (M, …)}."""
        return _unflatten(self._flat.copy(), self._shapes)

    @property
    def state(self) -> dict[str, Array]:
        """A copy of everything that training changes."""
        changing = {"params": self._flat, "frozen": self.frozen, "updates": np.array(self._updates)} | self._memory
        return {name: value.copy() for name, value in changing.items()}

    @state.setter
    def state(self, state: dict[str, Array]) -> None:
        own = {name: value.copy() for name, value in state.items()}
        self._flat, self.frozen, self._updates = own["params"], own["frozen"], int(own["updates"])
        self._memory = {name: own[name] for name in self._memory}

    def train_epoch(self, rows: Array, rate: Array) -> Array:
        """Update on batches of `rows` (M, steps, B) at `rate` (M,); returns each model's mean training loss (M,)."""
        busy = np.flatnonzero((rows >= 0).any(axis=(1, 2)) & (self.frozen < 0))
        losses = np.full(len(rows), np.nan)
        if self._kernel is not None:
            changing = self._flat, self._memory, self.frozen, self._updates
            losses[busy] = self._kernel.train(busy, rows[busy], rate[busy], *changing)
            self._updates += rows.shape[1]
            return losses
        with _threads() as threads:
            over_models, over_rows = (threads, map) if len(busy) > CHUNK else (map, threads)
            chunks = _chunks(busy)
            trained = over_models(lambda some: self._train(some, rows[some], rate[some], over_rows), chunks)
            for models, loss in zip(chunks, trained, strict=True):
                losses[models] = loss
        self._updates += rows.shape[1]
        return losses

    @EXPLODING
    def loss(self, rows: Array) -> Array:
        """Mean loss of each model (M,) over `rows` (M, v); what has no row costs nothing."""
        busy, losses = np.flatnonzero((rows >= 0).any(axis=1)), np.full(len(rows), np.nan)
        if not len(busy):
            return losses
        if self._kernel is not None:
            losses[busy] = self._kernel.loss(busy, rows[busy], self._flat)
            return losses
        params = _unflatten(self._flat[busy], self._shapes)
        logits = predict(self._model, params, self._inputs.of(busy), rows[busy])
        losses[busy] = self._loss(logits, *self._targets.batch(rows[busy]), self._targets.class_weights)[0]
        return losses

    @EXPLODING
    def _train(self, models: Array, rows: Array, rate: Array, over_rows: Map) -> Array:
        """One epoch of `models` (m,) over their `rows` (m, steps, B); returns their mean losses (m,)."""
        flat, state = self._flat[models], {name: value[models] for name, value in self._memory.items()}
        params, rngs = _unflatten(flat, self._shapes), [self._rngs[m] for m in models]
        tally = Tally(len(models))
        for step in range(rows.shape[1]):
            x, lengths = self._inputs.batch(models, rows[:, step])
            y, mask = self._targets.batch(rows[:, step])
            logits, backward = self._network(params, x, lengths, rngs, over_rows)
            loss, dlogits = self._loss(logits, y, mask, self._targets.class_weights)
            grads = _flatten(backward(dlogits))
            alive = self.frozen[models] < 0
            moves = tally.add(loss, mask, alive)
            finite = optim.update(self._rule, flat, grads, state, moves, rate)
            self.frozen[models[moves & ~finite]] = self._updates + step
        self._flat[models] = flat
        for name, value in state.items():
            self._memory[name][models] = value
        return tally.mean

    def _network(
        self, params: Params, x: Array, lengths: Array | None, rngs: list[np.random.Generator], over_rows: Map
    ) -> tuple[Array, Callable[[Array], Params]]:
        """`network` in micro-batches, each forward and then each backward mapped by `over_rows`.

        The gradients are added in the order of the rows, so the bits are the same on any number of threads. Dropout
        draws for the whole batch, which then goes through in one.
        """
        rows = x.shape[1]
        size = rows if self._model.dropout else MICRO_BATCH
        pieces = [slice(start, start + size) for start in range(0, rows, size)]

        @EXPLODING  # which holds in one thread
        def forward(piece: slice) -> tuple[Array, Callable[[Array], Params]]:
            ends = None if lengths is None else lengths[:, piece]
            return network(params, x[:, piece], self._model, lengths=ends, rng=rngs, truncate=self._truncate)

        if len(pieces) == 1:
            return forward(pieces[0])
        logits, backwards = zip(*over_rows(forward, pieces), strict=True)

        def backward(dlogits: Array) -> Params:
            grads = over_rows(EXPLODING(lambda piece, back: back(dlogits[:, piece])), pieces, backwards)
            return reduce(lambda total, own: {name: total[name] + own[name] for name in total}, grads)

        return np.concatenate(logits, axis=1), backward


def predict(model: Model, params: Params, inputs: Inputs, rows: Array) -> Array:
    """Logits (M, s, S, O) of `rows` (M, s); whatever stands at padding (−1) means nothing.

    Rows go through in batches of one fixed size, so a row gives the same bits alone as among many.
    """
    with _threads() as threads:
        chunks = _chunks(np.arange(len(rows)))
        return np.concatenate(list(threads(lambda m: _logits(model, params, inputs, m, rows[m]), chunks)))


@EXPLODING
def _logits(model: Model, params: Params, inputs: Inputs, models: Array, rows: Array) -> Array:
    """Logits (m, s, S, O) of `models` (m,) for their `rows` (m, s)."""
    count = rows.shape[1]
    padded = np.pad(rows, ((0, 0), (0, -count % PREDICTED_ROWS)), constant_values=-1)
    chosen = {name: value[models] for name, value in params.items()}
    logits = []
    for batch in np.split(padded, padded.shape[1] // PREDICTED_ROWS, axis=1):
        x, lengths = inputs.batch(models, batch)
        logits.append(network(chosen, x, model, lengths=lengths)[0])
    return np.concatenate(logits, axis=1)[:, :count]


def _chunks(models: Array) -> list[Array]:
    return [models[start : start + CHUNK] for start in range(0, len(models), CHUNK)]


@contextmanager
def _threads() -> Iterator[Map]:
    """A `map` on a thread a core, each with a BLAS of one thread."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield pool.map


def _flatten(params: Params) -> Array:
    """One row (P,) a model of all its arrays."""
    return np.concatenate([value.reshape(len(value), -1) for value in params.values()], axis=1)


def _unflatten(flat: Array, shapes: dict[str, tuple[int, ...]]) -> Params:
    """The named arrays (M, …) as views of `flat` (M, P)."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    pieces = np.split(flat, ends[:-1], axis=1)
    return {name: piece.reshape(len(flat), *shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}

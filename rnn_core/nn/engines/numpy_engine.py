"""The NumPy engine: hand-written backpropagation through time, in chunks of models that stay in cache, on threads.

Where the compiled kernel covers what is asked, it trains and validates instead; without it, the same nets are trained
by `unrolled`. Predictions are always those of `network`: what is evaluated is, bit for bit, what a machine without the
kernel serves.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, reduce
from itertools import repeat
from typing import Any, TypeAlias

import numpy as np

from rnn_core.nn import optim
from rnn_core.nn.arrays import Array, Params, flatten, unflatten
from rnn_core.nn.engines import Inputs, Targets, kernel, mean_loss, rule_of, thread_count
from rnn_core.nn.engines.unrolled import Net, Unrolled, layout
from rnn_core.nn.losses import LOSSES, Aim
from rnn_core.nn.network import network
from rnn_core.nn.settings import Model, Training

Map: TypeAlias = Callable[..., Iterable[Any]]
Pieces: TypeAlias = tuple[tuple[Any, ...], ...]
"""A batch, cut along its rows: of each piece the inputs, their lengths, where its logits go, and its aim."""
EXPLODING = np.errstate(over="ignore", invalid="ignore")  # a model that turns non-finite is frozen, not warned of
CHUNK = 32  # models of one pass: their activations fit a core's second-level cache
MICRO_BATCH = 256  # rows of one pass, for the same reason and to share them among threads
AHEAD = 2**16  # values of inputs that are gathered in one go, for as many updates as that makes
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
        self._flat = flatten(params)
        self._outputs = inputs.x.shape[1] if model.readout == "steps" else 1, params["head.bias"].shape[1]
        self._rule = rule_of(training)
        self._memory = optim.start(self._rule, self._flat)
        self._updates = 0
        self.frozen = np.full(len(self._flat), -1)
        covered = kernel.uncovered(model, training, inputs, targets, params) is None
        self._kernel = kernel.Kernel(model, self._rule, inputs, targets) if covered and kernel.available() else None
        self._unrolled, places = covered, unflatten(np.arange(self._flat.shape[1]), self._shapes)
        blocks = layout(model, places) if covered else places
        self._blocks = {name: block.shape for name, block in blocks.items()}
        self._order = np.concatenate([block.ravel() for block in blocks.values()])

    @property
    def kernel(self) -> bool:
        """Whether the compiled kernel trains and validates, not NumPy."""
        return self._kernel is not None

    @property
    def params(self) -> Params:
        """A copy of the present parameters, {name: (M, …)}."""
        return unflatten(self._flat.copy(), self._shapes)

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

    def train(self, rows: Array, rate: Array) -> Array:
        """Update on batches of `rows` (M, E, steps, B) at `rate` (M, E); returns the mean losses (M, E)."""
        if self._kernel is not None:
            losses = self._kernel.train(rows, rate, self._flat, self._memory, self.frozen, self._updates)
        else:
            losses = self._in_chunks(rows, rate)
        self._updates += rows.shape[1] * rows.shape[2]
        return losses

    def _in_chunks(self, rows: Array, rate: Array) -> Array:
        """The updates of `train` in NumPy, some models at a time."""
        busy = np.flatnonzero((rows >= 0).any(axis=(1, 2, 3)) & (self.frozen < 0))
        losses = np.full(rate.shape, np.nan)
        with _threads() as threads:
            over_models, over_rows = (threads, map) if len(busy) > CHUNK else (map, threads)
            chunks = _chunks(busy)
            trained = over_models(lambda some: self._train(some, rows[some], rate[some], over_rows), chunks)
            for models, loss in zip(chunks, trained, strict=True):
                losses[models] = loss
        return losses

    @EXPLODING
    def loss(self, rows: Array) -> Array:
        """Mean loss of each model (M,) over `rows` (M, v); what has no row costs nothing."""
        if self._kernel is not None:
            return self._kernel.loss(rows, self._flat)
        busy, losses = np.flatnonzero((rows >= 0).any(axis=1)), np.full(len(rows), np.nan)
        if not len(busy):
            return losses
        params = unflatten(self._flat[busy], self._shapes)
        logits = predict(self._model, params, self._inputs.of(busy), rows[busy])
        aim = self._loss.aim(logits, *self._targets.batch(rows[busy]), self._targets.class_weights)
        losses[busy] = self._loss.mean(logits, aim)
        return losses

    @EXPLODING
    def _train(self, models: Array, rows: Array, rate: Array, over_rows: Map) -> Array:
        """Train `models` (m,) on their `rows` (m, E, steps, B) at `rate` (m, E); returns their mean losses (m, E)."""
        epochs, steps, batch = rows.shape[1:]
        parts = 1 if self._model.dropout else -(-batch // MICRO_BATCH)
        place = np.ix_(models, self._order)
        places = {name: models if value.ndim == 1 else place for name, value in self._memory.items()}
        flat, memory = self._flat[place], {name: value[places[name]] for name, value in self._memory.items()}
        rows = rows.reshape(len(models), -1, batch).swapaxes(0, 1)
        rows = np.pad(rows, ((0, 0), (0, 0), (0, -batch % parts)), constant_values=-1)
        rates = np.repeat(rate.T, steps, axis=0)
        gradient = self._gradient(models, flat, parts, rows.shape[2] // parts, over_rows)
        losses, scored = np.zeros((2, *rows.shape[:2]))
        alive, ahead = np.full(len(models), True), max(1, AHEAD // (rows[0].size * self._inputs.x[0].size))
        for start in range(0, len(rows), ahead):
            span = slice(start, start + ahead)
            batches, aim, logits, scored[span] = self._gather(models, rows[span], parts)
            moving = (scored[span] > 0) & alive
            for k, (pieces, moves, at) in enumerate(zip(batches, moving, rates[span], strict=True)):
                lost = optim.update(self._rule, flat, gradient(pieces), memory, moves, at)
                if lost:
                    self.frozen[models[lost]] = self._updates + start + k
                    alive[lost] = moving[k + 1 :, lost] = False
            losses[span] = self._loss.mean(logits, aim)
            scored[span] *= moving
        self._flat[place] = flat
        for name, value in memory.items():
            self._memory[name][places[name]] = value
        by_epoch = zip(*(each.reshape(epochs, steps, -1) for each in (losses, scored)), strict=True)
        return np.stack([mean_loss(*epoch) for epoch in by_epoch], axis=1)

    def _gather(self, models: Array, rows: Array, parts: int) -> tuple[Iterable[Pieces], Aim, Array, Array]:
        """All that is read of the `rows` (steps, m, B), before any update.

        Returns the batches step by step, in pieces; their aim; where the logits (steps, m, B, S, O) are to go; and how
        many steps are scored (steps, m).
        """
        x, lengths = self._inputs.batch(models, rows)
        y, mask = self._targets.batch(rows)
        logits = np.empty((*rows.shape, *self._outputs), self._flat.dtype)
        aim = self._loss.aim(logits, y, mask, self._targets.class_weights)
        return _pieces(parts, x, lengths, logits, *aim[1:]), aim, logits, mask.sum(axis=(2, 3))

    def _gradient(self, models: Array, flat: Array, parts: int, rows: int, over_rows: Map) -> Callable[[Pieces], Array]:
        """The gradient of `flat` (m, P) from the pieces of a batch, each of so many `rows`, mapped by `over_rows`.

        The gradients are added in the order of the rows, so the bits are the same on any number of threads. Dropout
        draws for the whole batch, which is then one piece.
        """
        nets = [self._net(models, flat, rows) for _ in range(min(parts, thread_count()))]

        def of(net: Net, x: Array, lengths: Array | None, place: Array, *aim: Any) -> Array:
            logits, backward = net(x, lengths)
            place[...] = logits
            return backward(self._loss.gradient(logits, *aim))

        @EXPLODING  # which holds in one thread
        def on_a_free_net(piece: tuple[Any, ...]) -> Array:
            net = nets.pop()
            grads = of(net, *piece).copy()
            nets.append(net)
            return grads

        if parts == 1:
            return lambda pieces: of(nets[0], *pieces[0])
        return lambda pieces: reduce(np.add, over_rows(on_a_free_net, pieces))

    def _net(self, models: Array, flat: Array, rows: int) -> Net:
        """The net of so many `rows` whose parameters are `flat` (m, P)."""
        if self._unrolled:
            return Unrolled(self._model, flat, self._blocks, (len(flat), rows, *self._inputs.x.shape[1:]))
        params = unflatten(flat, self._shapes)
        rngs = [self._rngs[m] for m in models] if self._model.dropout else None

        def net(x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array], Array]]:
            logits, backward = network(params, x, self._model, lengths=lengths, rng=rngs, truncate=self._truncate)
            return logits, lambda dlogits: flatten(backward(dlogits))

        return net


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
    """A `map` on as many threads as there may be, each with a BLAS of one."""
    from concurrent.futures import ThreadPoolExecutor  # brings all of logging, which the kernel does without

    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(thread_count()) as pool:
        yield pool.map


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()  # looks through all that is loaded, which takes as long as ten updates


def _pieces(parts: int, *arrays: Array | None) -> Iterable[Pieces]:
    """The batches of arrays (steps, m, B, …), step by step."""

    def steps(array: Array | None, part: int) -> Iterable[Any]:
        if array is None:
            return repeat(None)
        return array.reshape(*array.shape[:2], parts, -1, *array.shape[3:])[:, :, part]

    return zip(*(zip(*(steps(array, part) for array in arrays), strict=False) for part in range(parts)), strict=True)

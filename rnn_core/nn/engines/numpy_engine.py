"""The NumPy engine: hand-written backpropagation through time, in chunks of models, on threads.

Where the compiled kernel covers a training, it trains and validates instead; without it, the nets
of one layer are trained by `unrolled`. Predictions are always those of `network`, so what is
evaluated is, bit for bit, what a machine without the kernel serves.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from rnn_core.nn import optim
from rnn_core.nn.arrays import Array, Params, flatten, unflatten
from rnn_core.nn.engines import Inputs, Targets, kernel, mean_loss, rule_of, thread_count
from rnn_core.nn.engines.pieces import EXPLODING, Batch, Gradient, Map, cut
from rnn_core.nn.engines.unrolled import Net, Unrolled, covers, layout
from rnn_core.nn.losses import LOSSES, Aim
from rnn_core.nn.network import network
from rnn_core.nn.settings import Model, Training

CHUNK = 32  # models of one pass: their activations fit a core's second-level cache
MICRO_BATCH = 256  # rows of one pass, for the same reason and to share them among threads
AHEAD = 2**16  # values of inputs to gather at once, for one update or several
PREDICTED_ROWS = 64  # rows of one prediction batch: BLAS gives other bits for other batch sizes


class Gathered(NamedTuple):
    """The data of k successive updates, read before the first of them.

    Attributes:
        batches: k batches.
        logits: (k, m, B, S, O); those of the pieces are views of it.
        aim: the targets of these logits.
        scored: (k, m) scored steps.
    """

    batches: Iterable[Batch]
    logits: Array
    aim: Aim
    scored: Array


class Plan(NamedTuple):
    """The updates of a chunk of models, epoch after epoch.

    Attributes:
        rows: (E·steps, m, B), −1 padded so that every batch has pieces of one size.
        rates: (E·steps, m) learning rates.
        parts: pieces of a batch.
    """

    rows: Array
    rates: Array
    parts: int


class Chunk(NamedTuple):
    """Some models in training.

    Attributes:
        models: (m,) numbers of the models in the stack.
        flat: (m, P) parameters, in the order of a net.
        memory: the update rule's state, in the same order.
        gradient: computes the gradient of `flat`.
        alive: (m,) which models are still finite.
    """

    models: Array
    flat: Array
    memory: optim.State
    gradient: Gradient
    alive: Array


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
        self._model = model
        self._inputs = inputs
        self._targets = targets
        self._rngs = rngs
        self._loss = LOSSES[targets.loss]
        self._truncate = training.truncate
        self._rule = rule_of(training)

        self._shapes = {name: value.shape[1:] for name, value in params.items()}
        self._flat = flatten(params)
        self._memory = optim.start(self._rule, self._flat)
        self._updates = 0
        self.frozen = np.full(len(self._flat), -1)

        covered = kernel.uncovered(model, training, inputs, targets, params) is None
        self._unrolled = covered and covers(model, training, inputs)
        self._kernel: kernel.Kernel | None = None
        if covered and kernel.available():
            self._kernel = kernel.Kernel(model, training, inputs, targets, rngs)
        else:
            self._arrange_parameters()

    def _arrange_parameters(self) -> None:
        """Set the shapes of a net's blocks of parameters, and its order (P,) of parameters."""
        places = unflatten(np.arange(self._flat.shape[1]), self._shapes)
        blocks = layout(self._model, places) if self._unrolled else places
        self._blocks = {name: block.shape for name, block in blocks.items()}
        self._order = np.concatenate([block.ravel() for block in blocks.values()])

    @property
    def kernel(self) -> bool:
        """Return whether the compiled kernel, not NumPy, trains and validates."""
        return self._kernel is not None

    @property
    def params(self) -> Params:
        """Return a copy of the current parameters, {name: (M, …)}."""
        return unflatten(self._flat.copy(), self._shapes)

    @property
    def state(self) -> dict[str, Array]:
        """Return a copy of everything that training changes."""
        changing = {
            "params": self._flat,
            "frozen": self.frozen,
            "updates": np.array(self._updates),
            **self._memory,
        }
        return {name: value.copy() for name, value in changing.items()}

    @state.setter
    def state(self, state: dict[str, Array]) -> None:
        copies = {name: value.copy() for name, value in state.items()}
        self._flat = copies["params"]
        self.frozen = copies["frozen"]
        self._updates = int(copies["updates"])
        self._memory = {name: copies[name] for name in self._memory}

    def train(self, rows: Array, rate: Array) -> Array:
        """Update on batches of `rows` (M, E, steps, B) at `rate` (M, E); return losses (M, E)."""
        if self._kernel is not None:
            losses = self._kernel.train(
                rows, rate, self._flat, self._memory, self.frozen, self._updates
            )
        else:
            losses = self._in_chunks(rows, rate)
        self._updates += rows.shape[1] * rows.shape[2]
        return losses

    @EXPLODING
    def loss(self, rows: Array) -> Array:
        """Return the mean loss of each model (M,) over `rows` (M, v); NaN without a row."""
        if self._kernel is not None:
            return self._kernel.loss(rows, self._flat)
        losses = np.full(len(rows), np.nan)
        busy = np.flatnonzero((rows >= 0).any(axis=1))
        if not len(busy):
            return losses
        params = unflatten(self._flat[busy], self._shapes)
        logits = predict(self._model, params, self._inputs.of(busy), rows[busy])
        y, mask = self._targets.batch(rows[busy])
        aim = self._loss.aim(logits, y, mask, self._targets.class_weights)
        losses[busy] = self._loss.mean(logits, aim)
        return losses

    def _in_chunks(self, rows: Array, rate: Array) -> Array:
        """Train in NumPy, chunk by chunk; threads share the chunks, or the rows of the only one."""
        losses = np.full(rate.shape, np.nan)
        busy = np.flatnonzero((rows >= 0).any(axis=(1, 2, 3)) & (self.frozen < 0))
        chunks = _chunks(busy)
        with _threads() as threads:
            over_models = threads if len(chunks) > 1 else map
            over_rows = map if len(chunks) > 1 else threads

            def train(models: Array) -> Array:
                return self._train(models, rows[models], rate[models], over_rows)

            for models, loss in zip(chunks, over_models(train, chunks), strict=True):
                losses[models] = loss
        return losses

    @EXPLODING
    def _train(self, models: Array, rows: Array, rate: Array, over_rows: Map) -> Array:
        """Train `models` (m,) on `rows` (m, E, steps, B) at `rate` (m, E); return losses (m, E)."""
        plan = self._plan(rows, rate)
        chunk = self._copy_out(models, plan, over_rows)
        losses = np.zeros(plan.rates.shape)
        scored = np.zeros(plan.rates.shape)
        ahead = self._updates_ahead(plan)
        for start in range(0, len(plan.rows), ahead):
            span = slice(start, start + ahead)
            gathered = self._gather(models, plan.rows[span], plan.parts)
            moving = self._update(chunk, gathered, plan.rates[span], self._updates + start)
            losses[span] = self._loss.mean(gathered.logits, gathered.aim)
            scored[span] = gathered.scored * moving
        self._write_back(chunk)
        return _by_epoch(losses, scored, epochs=rate.shape[1])

    def _update(self, chunk: Chunk, gathered: Gathered, rates: Array, first: int) -> Array:
        """Make k updates, numbered from `first`; return which models took part in each (k, m)."""
        moving = (gathered.scored > 0) & chunk.alive
        updates = zip(gathered.batches, moving, rates, strict=True)
        for k, (batch, moves, rate) in enumerate(updates):
            grads = chunk.gradient(batch)
            lost = optim.update(self._rule, chunk.flat, grads, chunk.memory, moves, rate)
            if lost:
                self.frozen[chunk.models[lost]] = first + k
                chunk.alive[lost] = False
                moving[k + 1 :, lost] = False
        return moving

    def _plan(self, rows: Array, rate: Array) -> Plan:
        """Order `rows` (m, E, steps, B) and `rate` (m, E) by update.

        Dropout draws for the whole batch, which is then one piece.
        """
        models, _, steps, batch = rows.shape
        parts = 1 if self._model.dropout else -(-batch // MICRO_BATCH)
        by_update = rows.reshape(models, -1, batch).swapaxes(0, 1)
        padding = ((0, 0), (0, 0), (0, -batch % parts))
        padded = np.pad(by_update, padding, constant_values=-1)
        return Plan(padded, np.repeat(rate.T, steps, axis=0), parts)

    def _updates_ahead(self, plan: Plan) -> int:
        """Return for how many updates of a plan to gather the inputs at once."""
        inputs_per_update: int = plan.rows[0].size * self._inputs.x[0].size
        return max(1, AHEAD // inputs_per_update)

    def _copy_out(self, models: Array, plan: Plan, over_rows: Map) -> Chunk:
        """Copy what the training of `models` changes."""
        flat = self._flat[np.ix_(models, self._order)]
        memory = {name: value[self._places(models, value)] for name, value in self._memory.items()}
        gradient = self._gradient(models, flat, plan, over_rows)
        return Chunk(models, flat, memory, gradient, alive=np.full(len(models), True))

    def _write_back(self, chunk: Chunk) -> None:
        """Write the changes of a chunk to the stack."""
        self._flat[np.ix_(chunk.models, self._order)] = chunk.flat
        for name, value in chunk.memory.items():
            whole = self._memory[name]
            whole[self._places(chunk.models, whole)] = value

    def _places(self, models: Array, value: Array) -> Any:
        """Index a part of the rule's memory, (M,) or (M, P), for `models` in the order of a net."""
        return models if value.ndim == 1 else np.ix_(models, self._order)

    def _gather(self, models: Array, rows: Array, parts: int) -> Gathered:
        """Read the data of the updates on `rows` (k, m, B), each cut into `parts` pieces."""
        x, lengths = self._inputs.batch(models, rows)
        y, mask = self._targets.batch(rows)
        steps = self._inputs.x.shape[1] if self._model.readout == "steps" else 1
        outputs = self._shapes["head.bias"][0]
        logits = np.empty((*rows.shape, steps, outputs), self._flat.dtype)
        aim = self._loss.aim(logits, y, mask, self._targets.class_weights)
        arrays = (x, lengths, logits, aim.weight, aim.hits, aim.unscored)
        return Gathered(cut(parts, *arrays), logits, aim, mask.sum(axis=(2, 3)))

    def _gradient(self, models: Array, flat: Array, plan: Plan, over_rows: Map) -> Gradient:
        """Return the gradient of `flat` (m, P) for the batches of a plan."""
        rows = plan.rows.shape[2] // plan.parts
        nets = [self._net(models, flat, rows) for _ in range(min(plan.parts, thread_count()))]
        return Gradient(nets, self._loss, over_rows)

    def _net(self, models: Array, flat: Array, rows: int) -> Net:
        """Return the net of batches of `rows` sequences, with the parameters `flat` (m, P)."""
        if self._unrolled:
            shape = (len(flat), rows, *self._inputs.x.shape[1:])
            return Unrolled(self._model, flat, self._blocks, shape)
        params = unflatten(flat, self._shapes)
        rngs = [self._rngs[m] for m in models] if self._model.dropout else None

        def net(x: Array, lengths: Array | None) -> tuple[Array, Callable[[Array], Array]]:
            logits, backward = network(
                params, x, self._model, lengths=lengths, rng=rngs, truncate=self._truncate
            )

            def flat_backward(dlogits: Array) -> Array:
                return flatten(backward(dlogits))

            return logits, flat_backward

        return net


def predict(model: Model, params: Params, inputs: Inputs, rows: Array) -> Array:
    """Return the logits (M, s, S, O) of `rows` (M, s); ignore those of padding (−1).

    Rows go through in batches of one fixed size, so a row gives the same bits alone as among many.
    """

    def logits(models: Array) -> Array:
        return _logits(model, params, inputs, models, rows[models])

    with _threads() as threads:
        return np.concatenate(list(threads(logits, _chunks(np.arange(len(rows))))))


@EXPLODING
def _logits(model: Model, params: Params, inputs: Inputs, models: Array, rows: Array) -> Array:
    """Return the logits (m, s, S, O) of `models` (m,) for their `rows` (m, s)."""
    count = rows.shape[1]
    padding = ((0, 0), (0, -count % PREDICTED_ROWS))
    padded = np.pad(rows, padding, constant_values=-1)
    chosen = {name: value[models] for name, value in params.items()}
    logits = []
    for batch in np.split(padded, padded.shape[1] // PREDICTED_ROWS, axis=1):
        x, lengths = inputs.batch(models, batch)
        batch_logits, _ = network(chosen, x, model, lengths=lengths)
        logits.append(batch_logits)
    return np.concatenate(logits, axis=1)[:, :count]


def _chunks(models: Array) -> list[Array]:
    return [models[start : start + CHUNK] for start in range(0, len(models), CHUNK)]


def _by_epoch(losses: Array, scored: Array, epochs: int) -> Array:
    """Return the mean losses (m, E), from the losses and scored steps of updates (E·steps, m)."""
    updates, models = losses.shape
    shape = (epochs, updates // epochs, models)
    by_epoch = zip(losses.reshape(shape), scored.reshape(shape), strict=True)
    return np.stack([mean_loss(*epoch) for epoch in by_epoch], axis=1)


@contextmanager
def _threads() -> Iterator[Map]:
    """Yield a `map` on `thread_count()` threads, each with a BLAS of one thread."""
    from concurrent.futures import ThreadPoolExecutor  # slow to import, unused with the kernel

    one_thread = _libraries().limit(limits=1, user_api="blas")
    with one_thread, ThreadPoolExecutor(thread_count()) as pool:
        yield pool.map


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()  # searches all loaded libraries: as slow as ten updates

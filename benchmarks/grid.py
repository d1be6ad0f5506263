"""`fit` against torch over all kinds and sizes of networks, sampled: is any of them slower?

Each case trains one model by Adam on one core, with its gradients clipped, for a few updates in
each round; of the rounds the median ratio counts. `share` is what our products reach of the fastest
product of two square matrices by BLAS, on the same core and in the same process.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil
from statistics import geometric_mean, median
from typing import Any

import numpy as np

from benchmarks.rounds import SAME, Job, drawn, process, rnnflow, save
from benchmarks.torch_nn import torch_loop
from rnn_core.config import Model, Training
from rnn_core.nn.layers import GATES
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.studies.study import Variant

CELLS = ("gru", "lstm", "rnn_tanh")
LAYERS = (1, 2, 3)
DIRECTIONS = (1, 2)
HIDDEN = (8, 16, 32, 64, 128, 256)
STEPS = (5, 20, 60, 250)
BATCHES = (1, 32, 256)
TYPES = ("float32", "float64")
INPUTS = 4
CASES = 120
SEED = 0
ROUNDS = 3  # after one that is not counted
WORK = 2e10  # multiplications of a round, or one update
LEAST_RATIO = 1.0
LEAST_MEAN = 5.0
SQUARE = 1024  # rows of the matrices that BLAS multiplies


@dataclass(frozen=True)
class Case:
    """A network, and what it is trained on."""

    cell: str
    layers: int
    directions: int
    hidden: int
    steps: int
    batch: int
    dtype: str

    @property
    def work(self) -> float:
        """The multiplications of one update: forward, and twice as many backward."""
        outputs = self.directions * self.hidden
        inputs = INPUTS + (self.layers - 1) * outputs
        by_step = GATES[self.cell] * self.hidden * (inputs + self.layers * self.hidden)
        return 3.0 * self.directions * by_step * self.steps * self.batch

    @property
    def updates(self) -> int:
        """The updates of a round."""
        return max(1, min(400, ceil(WORK / self.work)))


@dataclass(frozen=True)
class Row(Case):
    """A case, and how many times as long torch takes for it."""

    ratio: float
    lowest: float
    highest: float
    microseconds: float
    share: float


def cases() -> list[Case]:
    """Return a sample of all cases, of each cell as many, drawn without replacement."""
    draw = random.Random(SEED)  # noqa: S311  a sample, no secret
    sizes = [*product(LAYERS, DIRECTIONS, HIDDEN, STEPS, BATCHES, TYPES)]
    each = CASES // len(CELLS)
    return [Case(cell, *size) for cell in CELLS for size in draw.sample(sizes, each)]


def variant(case: Case) -> Variant:
    """Return noise to train a case on; its parameters and shuffles are drawn."""
    rows = case.batch * case.updates
    x = np.random.default_rng(0).normal(size=(rows, case.steps, INPUTS))
    y = (x[:, -1:, :1] > 0).astype(float)
    sequences = Sequences(x, y, np.ones((rows, 1), bool), raw=True)
    training = Training(
        dtype=case.dtype,
        batch_size=case.batch,
        epochs=1,
        patience=None,
        seeds=1,
        clip_norm=1.0,
        learning_rate=1e-3,
    )
    model = Model(
        cell=case.cell,
        hidden_size=case.hidden,
        num_layers=case.layers,
        bidirectional=case.directions == 2,
    )
    return drawn(Variant(model, training, sequences, holdout(rows, 0, 0)))


def each_in_turn(prepare: Callable[[Variant], Job], chosen: Sequence[Case]) -> Job:
    """Return a job that does one case, by its number; it keeps no other."""
    kept: dict[int, Job] = {}

    def job(number: int) -> Any:
        if number not in kept:
            kept.clear()
            kept[number] = prepare(variant(chosen[number]))
        return kept[number]()

    return job


def square_product(dtype: str) -> Job:
    """Return a job that multiplies two square matrices."""
    matrix = np.random.default_rng(0).random((SQUARE, SQUARE)).astype(dtype)
    return lambda: float((matrix @ matrix)[0, 0])


def main() -> list[str]:
    rows = measured(cases())
    save("grid", rows)
    ratios = [row.ratio for row in rows]
    mean = geometric_mean(ratios)
    print(f"{len(rows)} cases: smallest {min(ratios):.3g}, geometric mean {mean:.3g}")
    slow = [row for row in rows if row.ratio < LEAST_RATIO]
    broken = [f"torch is faster, {row.ratio:.2f}: {row}" for row in slow]
    if mean < LEAST_MEAN:
        broken.append(f"the geometric mean is {mean:.2f}; at least {LEAST_MEAN:g} is asked for")
    return broken


def measured(chosen: Sequence[Case]) -> list[Row]:
    """Time all cases, ours and torch's in turns; print and return their rows."""
    with ExitStack() as stack:
        start = partial(_start, stack)
        ours = start(each_in_turn, rnnflow, chosen, with_kernel=True)
        theirs = start(each_in_turn, torch_loop, chosen)
        blas = {dtype: start(square_product, dtype) for dtype in TYPES}
        fastest = {dtype: min(lap().seconds for _ in range(9)) for dtype, lap in blas.items()}
        rows = []
        for number, case in enumerate(chosen):
            laps = [(ours(number), theirs(number)) for _ in range(ROUNDS + 1)]
            np.testing.assert_allclose(
                laps[0][0].result,
                laps[0][1].result,
                rtol=0,
                atol=SAME[case.dtype],
                err_msg=f"{case}",
            )
            seconds = [(lap.seconds, torch_lap.seconds) for lap, torch_lap in laps[1:]]
            rows.append(_row(case, seconds, SQUARE**3 / fastest[case.dtype]))
    return rows


def _start(stack: ExitStack, *given: Any, with_kernel: bool = False) -> Any:
    return stack.enter_context(process(*given, with_kernel=with_kernel))


def _row(case: Case, seconds: list[tuple[float, float]], peak: float) -> Row:
    """Print and return the row of a case; `peak` is in multiplications a second."""
    ratios = [other / own for own, other in seconds]
    own = median(own for own, _ in seconds) / case.updates
    row = Row(
        **vars(case),
        ratio=median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        microseconds=own * 1e6,
        share=case.work / own / peak,
    )
    print(f"{row.ratio:7.3g} × ({row.lowest:.3g} to {row.highest:.3g}) {case}", flush=True)
    return row

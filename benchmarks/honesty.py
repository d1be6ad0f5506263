"""Measure how often the verdict is right on series with no, planted and drifting direction.

Each series goes through windows, purged folds, training, evaluation and verdict. The controls and
their bounds:

    null        random walks with volatility clustering: `skill` in at most 16 of 200, the 97.5 %
                bound at a true 5 %
    drift       up on 55 % of days, independently: the same bound, however often the network says up
    planted     tomorrow moves as today with probability 0.60: `skill` in at least 95 of 100, mean
                accuracy ≥ 0.57
    weak        the same with 0.55: the power is reported
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import SimpleQueue
from typing import Any

import numpy as np
from scipy.stats import binom

from rnn_core.config import Evaluation, Model, Problem, Training
from rnn_core.data.folds import folds
from rnn_core.data.prices import Prices
from rnn_core.data.synthetic import random_walk
from rnn_core.data.windows import windows
from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import evaluate
from rnn_core.nn.ensemble import out_of_sample
from rnn_core.nn.memory import tune_process
from rnn_core.nn.training import fit

DAYS = 1800
FEWEST_TEST_DAYS = 1100
TRAINING = Training(dtype="float32")


def most_false(series: int) -> int:
    """Return the number of findings that a true rate of 5 % exceeds once in forty."""
    return int(binom.ppf(0.975, series, 0.05))


@dataclass(frozen=True)
class Control:
    """Series of one kind, and the shares of them in which skill must be found.

    Attributes:
        name: what is planted.
        series: how many are judged.
        edge: of the random walk.
        drift: probability of a day up.
        least_skill: share of series with the verdict skill, at least.
        least_accuracy: mean accuracy, at least.
    """

    name: str
    series: int
    edge: float = 0.0
    drift: float = 0.5
    least_skill: float = 0.0
    least_accuracy: float = 0.0

    @property
    def false(self) -> bool:
        """True if skill that is found is found by chance."""
        return self.edge == 0


CONTROLS = (
    Control("null", 200),
    Control("drift", 200, drift=0.55),
    Control("planted", 100, edge=0.10, least_skill=0.95, least_accuracy=0.57),
    Control("weak", 100, edge=0.05),
)


@dataclass(frozen=True)
class Result:
    """Counts of the verdicts, the mean accuracy and the fewest test days of a control's series."""

    control: Control
    verdicts: Counter[str]
    accuracy: float
    test_days: int
    seconds: float

    def __str__(self) -> str:
        counts = (
            f"{self.verdicts['skill']:7}{self.verdicts['no evidence of skill']:6}"
            f"{self.verdicts['inconclusive']:14}"
        )
        return (
            f"{self.control.name:9}{self.control.series:7}{counts}"
            f"{self.accuracy:10.3f}{self.test_days:11}{self.seconds:6.0f}"
        )

    @property
    def broken(self) -> list[str]:
        """The bounds that do not hold, one sentence each."""
        control = self.control
        skill = self.verdicts["skill"]
        inconclusive = self.verdicts["inconclusive"]
        least = round(control.least_skill * control.series)
        most = most_false(control.series)
        broken = []
        if control.false and skill > most:
            broken.append(f"skill in {skill}, at most {most} by chance")
        if skill < least:
            broken.append(f"skill in {skill}, at least {least} are asked")
        if inconclusive > 0:
            broken.append(f"{inconclusive} inconclusive")
        if self.accuracy < control.least_accuracy:
            broken.append(f"accuracy {self.accuracy:.3f}, {control.least_accuracy} is asked")
        if self.test_days < FEWEST_TEST_DAYS:
            broken.append(f"{self.test_days} test days, {FEWEST_TEST_DAYS} are asked")
        return [f"{control.name}: {sentence}" for sentence in broken]


def prices(control: Control, seed: int) -> Prices:
    """Return a series of the control: `random_walk`, for a drift with the sign of each day new."""
    stream = np.random.SeedSequence([seed, round(1000 * control.drift)])
    frame = random_walk(DAYS, control.edge, stream)
    frame.index = np.datetime64("2000-01-03") + np.arange(DAYS)
    if control.drift != 0.5:
        up = np.random.default_rng([seed, 55]).random(DAYS - 1) < control.drift
        size = np.abs(np.diff(np.log(frame["close"])))
        path = np.append(0, np.cumsum(np.where(up, size, -size)))
        frame["close"] = frame["close"].iloc[0] * np.exp(path)
    return Prices("CONTROL", frame, "synthetic", "close", "XNYS")


def judge(control: Control, training: Training, seed: int) -> tuple[str, float, int]:
    """Return the verdict, the accuracy and the number of test days of one series."""
    settings = Evaluation()
    built = windows(Problem(), prices(control, seed))
    walk = folds(settings, built)
    fitted = fit(Model(), training, built, walk)
    logits = out_of_sample(fitted, built, walk)
    evaluation = evaluate(built, walk, logits, settings, shrinkage=training.shrinkage)
    return evaluation.verdict.tag, evaluation.scores[names.ACCURACY], len(evaluation.calls)


def run(
    control: Control, training: Training = TRAINING, over: Callable[..., Iterable[Any]] = map
) -> Result:
    """Judge every series of the control by the mapping `over`, with a counter in a terminal."""
    before = time.perf_counter()
    judged = []
    for outcome in over(partial(judge, control, training), range(control.series)):
        judged.append(outcome)
        if sys.stderr.isatty():
            print(f"\r{control.name}: {len(judged)} of {control.series}", end="", file=sys.stderr)
    tags, accuracies, days = zip(*judged, strict=True)
    return Result(
        control,
        Counter(tags),
        accuracy=float(np.mean(accuracies)),
        test_days=min(days),
        seconds=time.perf_counter() - before,
    )


def main(share: float = 1.0) -> list[str]:
    """Print a line for each control; return the bounds that are broken."""
    print(f"{DAYS} days each, default configuration in float32")
    print(f"{'control':9}{'series':>7}{'skill':>7}{'none':>6}{'inconclusive':>14}", end="")
    print(f"{'accuracy':>10}{'test days':>11}{'s':>6}")
    broken = []
    with one_process_a_core() as pool:
        for control in CONTROLS:
            series = max(1, round(control.series * share))
            result = run(replace(control, series=series), over=pool.map)
            print(result, flush=True)
            broken += result.broken
    return broken


def one_process_a_core() -> ProcessPoolExecutor:
    """Return a pool whose processes keep to a core each: a series is too small for threads."""
    cores: Any = SimpleQueue()
    available = os.sched_getaffinity(0)
    for core in available:
        cores.put(core)
    return ProcessPoolExecutor(len(available), initializer=_keep_to_one, initargs=(cores,))


def _keep_to_one(cores: Any) -> None:
    tune_process()
    os.sched_setaffinity(0, {cores.get()})

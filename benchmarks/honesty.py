"""Whether the verdict can be believed: series without predictability, with a planted one, and with a drift.

Each series goes the whole way: windows, purged folds, training, evaluation, verdict. The rules and their bounds:

    null        random walks with volatility clustering: `skill` in at most 16 of 200, the 97.5 % bound at a true 5 %
    drift       up on 55 % of days, by chance each: the same bound, however often the network says up
    planted     tomorrow moves as today with probability 0.60: `skill` in at least 95 of 100, mean accuracy ≥ 0.57
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
from rnn_core.data.loading import Prices, random_walk
from rnn_core.data.windows import windows
from rnn_core.evaluation.evaluation import evaluate
from rnn_core.nn.ensemble import out_of_sample
from rnn_core.nn.memory import tune_process
from rnn_core.nn.training import fit

DAYS, FEWEST_TEST_DAYS = 1800, 1100
TRAINING = Training(dtype="float32")


def most_false(series: int) -> int:
    """The number of finds that a true rate of 5 % exceeds once in forty."""
    return int(binom.ppf(0.975, series, 0.05))


@dataclass(frozen=True)
class Control:
    """Series of one kind, and between which shares of them skill must be found."""

    name: str
    series: int
    edge: float = 0.0
    drift: float = 0.5  # probability of a day up
    least_skill: float = 0.0
    least_accuracy: float = 0.0

    @property
    def false(self) -> bool:
        """Whether skill that is found is found by chance."""
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
        skill, none, inconclusive = (self.verdicts[tag] for tag in ("skill", "no evidence of skill", "inconclusive"))
        name, series = self.control.name, self.control.series
        return (
            f"{name:9}{series:7}{skill:7}{none:6}{inconclusive:14}"
            f"{self.accuracy:10.3f}{self.test_days:11}{self.seconds:6.0f}"
        )

    @property
    def broken(self) -> list[str]:
        """The bounds that do not hold, one sentence each."""
        control, skill = self.control, self.verdicts["skill"]
        least, most = round(control.least_skill * control.series), most_false(control.series)
        said = {
            f"skill in {skill}, at most {most} by chance": control.false and skill > most,
            f"skill in {skill}, at least {least} are asked": skill < least,
            f"{self.verdicts['inconclusive']} inconclusive": self.verdicts["inconclusive"] > 0,
            f"accuracy {self.accuracy:.3f}, {control.least_accuracy} is asked": self.accuracy < control.least_accuracy,
            f"{self.test_days} test days, {FEWEST_TEST_DAYS} are asked": self.test_days < FEWEST_TEST_DAYS,
        }
        return [f"{control.name}: {sentence}" for sentence, holds in said.items() if holds]


def prices(control: Control, seed: int) -> Prices:
    """A series of the control: `random_walk`, for a drift with the sign of each day drawn anew."""
    frame = random_walk(DAYS, control.edge, np.random.SeedSequence([seed, round(1000 * control.drift)]))
    frame.index = np.datetime64("2000-01-03") + np.arange(DAYS)
    if control.drift != 0.5:
        up = np.random.default_rng([seed, 55]).random(DAYS - 1) < control.drift
        size = np.abs(np.diff(np.log(frame["close"])))
        frame["close"] = frame["close"].iloc[0] * np.exp(np.append(0, np.cumsum(np.where(up, size, -size))))
    return Prices("CONTROL", frame, "synthetic", "close", "XNYS")


def judge(control: Control, training: Training, seed: int) -> tuple[str, float, int]:
    """The verdict, the accuracy and the number of test days of one series."""
    settings = Evaluation()
    built = windows(Problem(), prices(control, seed))
    walk = folds(settings, built)
    fitted = fit(Model(), training, built, walk)
    logits = out_of_sample(fitted, built, walk)
    found = evaluate(built, walk, logits, settings, shrinkage=training.shrinkage)
    return found.verdict.tag, found.scores["test/accuracy"], len(found.calls)


def run(control: Control, training: Training = TRAINING, over: Callable[..., Iterable[Any]] = map) -> Result:
    """Judge every series of the control by the mapping `over`, with a counter in a terminal."""
    before, found = time.perf_counter(), []
    for one in over(partial(judge, control, training), range(control.series)):
        found.append(one)
        if sys.stderr.isatty():
            print(f"\r{control.name}: {len(found)} of {control.series}", end="", file=sys.stderr)
    tags, accuracies, days = zip(*found, strict=True)
    return Result(control, Counter(tags), float(np.mean(accuracies)), min(days), time.perf_counter() - before)


def main(share: float = 1.0) -> list[str]:
    """Print a line a control; returns the bounds that were broken."""
    print(f"{DAYS} days each, default configuration in float32")
    print(f"{'control':9}{'series':>7}{'skill':>7}{'none':>6}{'inconclusive':>14}", end="")
    print(f"{'accuracy':>10}{'test days':>11}{'s':>6}")
    broken, cores = [], SimpleQueue()
    for core in os.sched_getaffinity(0):
        cores.put(core)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), initializer=_keep_to_one, initargs=(cores,)) as pool:
        for control in CONTROLS:
            result = run(replace(control, series=max(1, round(control.series * share))), over=pool.map)
            print(result, flush=True)
            broken += result.broken
    return broken


def _keep_to_one(cores: Any) -> None:
    """A series is too small for the threads of a stack to pay: each process keeps to a core of its own."""
    tune_process()
    os.sched_setaffinity(0, {cores.get()})

"""Count how often the verdict finds skill in series without, with planted and with useless skill.

Each series goes through windows, purged folds, training, evaluation and verdict, all with the
default configuration in float32. The bounds:

    null kinds      `skill` in at most 16 of 200, the 97.5 % bound at a true 5 %
    bounce          the direction can be told and cannot be traded: as few headlines without that
    planted         tomorrow moves as today with probability 0.60: `skill` in at least 95 of 100,
                    mean accuracy ≥ 0.57
    weak            the same with 0.55: in at least 40 of 100
    other planted   the power is reported
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binom

from benchmarks.honesty.series import BOUNCE, KINDS, NULL, PLANTED, Kind, prices
from rnn_core.config import Evaluation, Model, Problem, Training
from rnn_core.data.folds import folds
from rnn_core.data.windows import windows
from rnn_core.evaluation import evaluation
from rnn_core.evaluation.metrics import called_up, wilson_interval
from rnn_core.nn.ensemble import out_of_sample
from rnn_core.nn.memory import tune_process
from rnn_core.nn.training import fit

TRAINING = Training(dtype="float32")
BEFORE_TEST = 700  # days of a series, at most, that are not tested


def most_false(series: int) -> int:
    """Return the number of findings that a true rate of 5 % exceeds once in forty."""
    return int(binom.ppf(0.975, series, 0.05))


@dataclass(frozen=True)
class Control:
    """Series of one kind, and how often skill may or must be found.

    Attributes:
        kind: of the series.
        series: how many are judged.
        most_skill: verdicts of skill, at most; None is no bound.
        most_bare: headlines of skill without what it is not worth, at most.
        least_skill: verdicts of skill, at least.
        least_accuracy: mean accuracy, at least.
    """

    kind: Kind
    series: int
    most_skill: int | None = None
    most_bare: int | None = None
    least_skill: int = 0
    least_accuracy: float = 0.0

    def shortened(self, series: int) -> "Control":
        """Return the control with fewer series, and bounds as likely to hold by chance."""
        rate = self.least_skill / self.series
        return replace(
            self,
            series=series,
            most_skill=None if self.most_skill is None else most_false(series),
            most_bare=None if self.most_bare is None else most_false(series),
            least_skill=int(binom.ppf(0.025, series, rate)),
            least_accuracy=max(0.0, self.least_accuracy - 0.01),
        )


CONTROLS = (
    *(Control(kind, 200, most_skill=most_false(200)) for kind in NULL),
    *(Control(kind, 200, most_bare=most_false(200)) for kind in BOUNCE),
    Control(PLANTED[0], 100, least_skill=95, least_accuracy=0.57),
    Control(PLANTED[1], 100, least_skill=40),
    *(Control(kind, 100) for kind in PLANTED[2:]),
)


class Judged(NamedTuple):
    """The verdict on one series."""

    tag: str
    headline: str
    accuracy: float
    test_days: int


@dataclass(frozen=True)
class Result:
    """The verdicts on a control's series, and how long they took."""

    control: Control
    judged: Sequence[Judged]
    seconds: float

    @property
    def skill(self) -> int:
        """How many verdicts are skill."""
        return sum(series.tag == "skill" for series in self.judged)

    @property
    def bare(self) -> int:
        """How many headlines claim skill and do not say that it cannot be traded."""
        return sum(
            series.tag == "skill" and "tradable" not in series.headline for series in self.judged
        )

    @property
    def accuracy(self) -> float:
        """The mean accuracy."""
        return float(np.mean([series.accuracy for series in self.judged]))

    @property
    def test_days(self) -> int:
        """The fewest test days."""
        return min(series.test_days for series in self.judged)

    def __str__(self) -> str:
        count = len(self.judged)
        low, high = wilson_interval(self.skill, count)
        interval = f"{low:.0%} to {high:.0%}"
        return (
            f"{self.control.kind.name:18}{count:7}{self.skill:7}{interval:>14}"
            f"{_bound(self.control):>16}{self.bare:7}{self.accuracy:10.3f}"
            f"{self.test_days:11}{self.seconds:6.0f}"
        )

    @property
    def broken(self) -> list[str]:
        """The bounds that do not hold, one sentence each."""
        control = self.control
        least_days = control.kind.days - BEFORE_TEST
        broken = []
        if control.most_skill is not None and self.skill > control.most_skill:
            broken.append(f"skill in {self.skill}, at most {control.most_skill} by chance")
        if control.most_bare is not None and self.bare > control.most_bare:
            broken.append(
                f"{self.bare} headlines without “not tradable”, at most {control.most_bare}"
            )
        if self.skill < control.least_skill:
            broken.append(f"skill in {self.skill}, at least {control.least_skill} are asked")
        if self.accuracy < control.least_accuracy:
            broken.append(f"accuracy {self.accuracy:.3f}, {control.least_accuracy} is asked")
        if self.test_days < least_days:
            broken.append(f"{self.test_days} test days, {least_days} are asked")
        return [f"{control.kind.name}: {sentence}" for sentence in broken]


def _bound(control: Control) -> str:
    if control.most_skill is not None:
        return f"at most {control.most_skill}"
    if control.most_bare is not None:
        return f"bare at most {control.most_bare}"
    return f"at least {control.least_skill}" if control.least_skill else "none"


def judge(kind: str, training: Training, series: int) -> Judged:
    """Return the verdict on the series of that number; the kind goes by name, for pickle."""
    settings = Evaluation()
    built = windows(Problem(), prices(KINDS[kind], series))
    walk = folds(settings, built)
    fitted = fit(Model(), training, built, walk)
    logits = out_of_sample(fitted, built, walk)
    judged = evaluation.judge(built, walk, logits, settings, shrinkage=training.shrinkage)
    verdict = judged.verdict
    calls = judged.calls
    accuracy = (called_up(calls["probability"]) == calls["up"]).mean()
    return Judged(verdict.tag, verdict.headline, float(accuracy), len(calls))


def run(
    control: Control, training: Training = TRAINING, over: Callable[..., Iterable[Any]] = map
) -> Result:
    """Judge every series of the control by the mapping `over`, with a counter in a terminal."""
    before = time.perf_counter()
    judged = []
    for outcome in over(partial(judge, control.kind.name, training), range(control.series)):
        judged.append(outcome)
        if sys.stderr.isatty():
            name = control.kind.name
            print(f"\r{name}: {len(judged)} of {control.series}", end="", file=sys.stderr)
    return Result(control, judged, time.perf_counter() - before)


def main(quick: bool = False) -> list[str]:
    """Print a line for each control; return the bounds that are broken.

    `quick` judges a tenth of the series by bounds to match.
    """
    print(
        "default configuration in float32; skill with its 95 % interval; bare: not “not tradable”"
    )
    print(f"{'kind':18}{'series':>7}{'skill':>7}{'interval':>14}{'bound':>16}{'bare':>7}", end="")
    print(f"{'accuracy':>10}{'test days':>11}{'s':>6}")
    broken = []
    with one_process_a_core() as pool:
        for control in CONTROLS:
            asked = control.shortened(control.series // 10) if quick else control
            result = run(asked, over=pool.map)
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

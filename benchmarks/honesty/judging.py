"""Count how often the verdict finds skill in series without, with planted and with useless skill.

Each series goes through windows, purged folds, training, evaluation and verdict, all with the
default configuration in float32. The bounds:

    null kinds      `skill` in at most 16 of 200, the 97.5 % bound at a true 5 %
    bounce          the direction can be told and cannot be traded: as few headlines without that
    planted         tomorrow moves as today with probability 0.60: `skill` in at least 95 of 100,
                    mean accuracy ≥ 0.57
    weak            the same with 0.55: in at least 40 of 100
    other planted   the power is reported
    best of 8       `skill` in any of eight looks at a null series, by other seeds and starts, in at
                    most 16 of 200
    daily           `skill` on any of 250 days on which the question is asked again, in at most 16
    two seeds       two runs of one network are told apart in at most 10 of 200
    seeing or not   a network that sees the planted direction is better than one that does not, in
                    at least 95 of 100
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import SimpleQueue
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy.stats import binom

from benchmarks.honesty.series import BOUNCE, COMPARED, KINDS, NULL, PLANTED, Kind, prices
from rnn_core.config import Evaluation as Settings
from rnn_core.config import Model, Problem, Training
from rnn_core.data.folds import folds
from rnn_core.data.prices import Prices
from rnn_core.data.windows import windows
from rnn_core.evaluation import evaluation
from rnn_core.evaluation.audit import most_false
from rnn_core.evaluation.comparison import NO_DIFFERENCE, Comparison, compare
from rnn_core.evaluation.direction_tests import strata, within_strata
from rnn_core.evaluation.evidence import STRATUM
from rnn_core.evaluation.metrics import called_up, log_losses, wilson_interval
from rnn_core.evaluation.spending import FIRST_LOOK, Look, nth_look
from rnn_core.evaluation.verdict import NO_EVIDENCE, SKILL, Showing, Worth, verdict
from rnn_core.nn.ensemble import out_of_sample
from rnn_core.nn.memory import tune_process
from rnn_core.nn.training import fit

TRAINING = Training(dtype="float32")
DEFAULT_PROBLEM = Problem()
BEFORE_TEST = 700  # days of a series, at most, that are not tested
DAILY = 250  # days on which a question is asked again


class Judged(NamedTuple):
    """The verdict on one series."""

    tag: str
    headline: str
    accuracy: float
    test_days: int


Asking: TypeAlias = Callable[[str, Training, int], Judged]
"""Returns the verdict on the series of a kind, by name, and a number; skill if any verdict is."""


def once(kind: str, training: Training, series: int) -> Judged:
    """Judge the series as a first look."""
    return _summary(judged_prices(prices(KINDS[kind], series), training, FIRST_LOOK))


def best_of_eight(kind: str, training: Training, series: int) -> Judged:
    """Look eight times, by other seeds and starts, and keep the first skill, else the last."""
    whole = prices(KINDS[kind], series)
    for number in range(1, 9):
        seeded = replace(training, seed=number)
        later = replace(whole, frame=whole.frame.iloc[10 * (number // 2) :])
        judged = _summary(judged_prices(later, seeded, nth_look(number)))
        if judged.tag == SKILL:
            break
    return judged


def daily(kind: str, training: Training, series: int) -> Judged:
    """Ask on each of the last 250 days anew, and keep the first skill, else the last.

    The folds stay the same as days are added, so that the calls up to a day are those of a retrain
    on that day.
    """
    calls = judged_prices(prices(KINDS[kind], series), training, FIRST_LOOK).calls
    first_days = len(calls) - DAILY
    for days in range(first_days, len(calls) + 1):
        look = nth_look(1, growth=days / first_days)
        judged = judged_until(calls.iloc[:days], look)
        if judged.tag == SKILL:
            break
    return judged._replace(test_days=len(calls))


def two_seeds(kind: str, training: Training, series: int) -> Judged:
    """Compare two networks that differ by their seed alone; skill if they are told apart."""
    whole = prices(KINDS[kind], series)
    one, other = (judged_prices(whole, replace(training, seed=seed), FIRST_LOOK) for seed in (0, 1))
    comparison = compare(one.calls, other.calls)
    return _told_apart(comparison, comparison.headline != NO_DIFFERENCE)


def seeing_or_not(kind: str, training: Training, series: int) -> Judged:
    """Compare a network on returns with one on their volatility alone; skill if it is better."""
    whole = prices(KINDS[kind], series)
    sees, does_not = (
        judged_prices(whole, training, FIRST_LOOK, Problem(features=features))
        for features in (("return", "direction"), ("volatility",))
    )
    comparison = compare(sees.calls, does_not.calls)
    return _told_apart(comparison, comparison.headline.startswith("A is better"))


def _told_apart(comparison: Comparison, told: bool) -> Judged:
    overall = comparison.overall
    tag = SKILL if told else NO_EVIDENCE
    return Judged(tag, comparison.headline, overall.accuracies[0], overall.days)


def judged_prices(
    prices: Prices, training: Training, look: Look, problem: Problem = DEFAULT_PROBLEM
) -> evaluation.Judged:
    """Return the verdict on a network that was trained on the prices."""
    settings = Settings()
    built = windows(problem, prices)
    walk = folds(settings, built)
    fitted = fit(Model(), training, built, walk)
    logits = out_of_sample(fitted, built, walk)
    return evaluation.judge(built, walk, logits, settings, shrinkage=training.shrinkage, look=look)


def _summary(judged: evaluation.Judged) -> Judged:
    calls = judged.calls
    accuracy = (called_up(calls["probability"]) == calls["up"]).mean()
    return Judged(judged.verdict.tag, judged.verdict.headline, float(accuracy), len(calls))


def judged_until(calls: pd.DataFrame, look: Look) -> Judged:
    """Return the verdict on some calls, by the base rate alone."""
    up = calls["up"].to_numpy()
    probability = calls["probability"].to_numpy()
    stratum = strata(calls["fold"].to_numpy(), STRATUM)
    test = within_strata(up, probability, stratum)
    hits = int((called_up(probability) == up).sum())
    loss = float(log_losses(up, probability).mean())
    base_loss = float(log_losses(up, calls["p_majority"].to_numpy()).mean())
    network = Showing(None if test is None else test.pvalue, hits, loss)
    baselines = {"majority": Showing(None, 0, base_loss)}
    judged = verdict(network, baselines, len(up), look, Worth(0, None, None))
    return Judged(judged.tag, judged.headline, hits / len(up), len(up))


@dataclass(frozen=True)
class Control:
    """Series of one kind, and how often skill may or must be found.

    Attributes:
        kind: of the series.
        series: how many are judged.
        asking: how each is.
        most_skill: verdicts of skill, at most; None is no bound.
        most_bare: headlines of skill without what it is not worth, at most.
        least_skill: verdicts of skill, at least.
        least_accuracy: mean accuracy, at least.
    """

    kind: Kind
    series: int
    asking: Asking = once
    most_skill: int | None = None
    most_bare: int | None = None
    least_skill: int = 0
    least_accuracy: float = 0.0

    @property
    def name(self) -> str:
        """The kind, and how its series are judged if not once."""
        how = "" if self.asking is once else f", {self.asking.__name__.replace('_', ' ')}"
        return self.kind.name + how

    @property
    def has_bound(self) -> bool:
        """True if too much or too little can be found."""
        return bool(self.least_skill) or (self.most_skill, self.most_bare) != (None, None)

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
    Control(NULL[0], 200, best_of_eight, most_skill=most_false(200)),
    Control(NULL[0], 200, daily, most_skill=most_false(200)),
    *(Control(kind, 200, most_bare=most_false(200)) for kind in BOUNCE),
    Control(PLANTED[0], 100, least_skill=95, least_accuracy=0.57),
    Control(PLANTED[1], 100, least_skill=40),
    Control(NULL[0], 200, two_seeds, most_skill=10),
    Control(COMPARED, 100, seeing_or_not, least_skill=95),
    *(Control(kind, 100) for kind in PLANTED[2:]),
)


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
            f"{self.control.name:20}{count:7}{self.skill:7}{interval:>14}"
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
        return [f"{control.name}: {sentence}" for sentence in broken]


def _bound(control: Control) -> str:
    if control.most_skill is not None:
        return f"at most {control.most_skill}"
    if control.most_bare is not None:
        return f"bare at most {control.most_bare}"
    return f"at least {control.least_skill}" if control.least_skill else "none"


def run(
    control: Control, training: Training = TRAINING, over: Callable[..., Iterable[Any]] = map
) -> Result:
    """Judge every series of the control by the mapping `over`, with a counter in a terminal."""
    before = time.perf_counter()
    judged = []
    for outcome in over(
        partial(control.asking, control.kind.name, training), range(control.series)
    ):
        judged.append(outcome)
        if sys.stderr.isatty():
            print(f"\r{control.name}: {len(judged)} of {control.series}", end="", file=sys.stderr)
    return Result(control, judged, time.perf_counter() - before)


def main(quick: bool = False) -> list[str]:
    """Print a line for each control; return the bounds that are broken.

    `quick` judges a tenth of the series by bounds to match, and leaves out kinds without a bound.
    """
    print(
        "default configuration in float32; skill with its 95 % interval; bare: not “not tradable”"
    )
    print(f"{'kind':20}{'series':>7}{'skill':>7}{'interval':>14}{'bound':>16}{'bare':>7}", end="")
    print(f"{'accuracy':>10}{'test days':>11}{'s':>6}")
    broken = []
    with one_process_a_core() as pool:
        bounded = (c.shortened(c.series // 10) for c in CONTROLS if c.has_bound)
        for control in bounded if quick else CONTROLS:
            result = run(control, over=pool.map)
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

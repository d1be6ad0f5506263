"""Whether the verdict can be believed: series without predictability, with a planted one, and with a drift.

Each series goes the whole way: windows, purged folds, training, evaluation, verdict. The rules and their bounds:

    null        random walks with volatility clustering: `skill` in at most 16 of 200, the 97.5 % bound at a true 5 %
    drift       up on 55 % of days, by chance each: the same bound, however often the network says up
    planted     tomorrow moves as today with probability 0.60: `skill` in at least 95 of 100, mean accuracy ≥ 0.57
    weak        the same with 0.55: the power is reported
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom

from rnn_core.config import Evaluation, Model, Problem, Training
from rnn_core.evaluation import evaluate
from rnn_core.folds import folds
from rnn_core.problems import windows
from rnn_core.sources import Prices, random_walk
from rnn_core.training import fit, predict

DAYS = 1800
TRAINING = Training(dtype="float32")


@dataclass(frozen=True)
class Control:
    name: str
    series: int
    edge: float = 0.0
    drift: float = 0.5  # probability of a day up


CONTROLS = (
    Control("null", 200),
    Control("drift", 200, drift=0.55),
    Control("planted", 100, edge=0.10),
    Control("weak", 100, edge=0.05),
)


def prices(control: Control, seed: int) -> Prices:
    """A series of the control: `random_walk`, for a drift with the sign of each day drawn anew."""
    frame = random_walk(DAYS, control.edge, np.random.SeedSequence([seed, round(1000 * control.drift)]))
    frame.index = np.datetime64("2000-01-03") + np.arange(DAYS)
    if control.drift != 0.5:
        up = np.random.default_rng([seed, 55]).random(DAYS - 1) < control.drift
        size = np.abs(np.diff(np.log(frame["close"])))
        frame["close"] = frame["close"].iloc[0] * np.exp(np.append(0, np.cumsum(np.where(up, size, -size))))
    return Prices("CONTROL", frame, "synthetic", "close", "XNYS")


def verdicts(control: Control, training: Training = TRAINING) -> Iterator[tuple[str, float, int]]:
    """The verdict, the accuracy and the number of test days of each series."""
    settings = Evaluation()
    for seed in range(control.series):
        built = windows(Problem(), prices(control, seed))
        walk = folds(settings, built)
        fitted = fit(Model(), training, built, walk)
        logits = predict(fitted, built.x, walk.test.repeat(training.seeds, axis=0))
        found = evaluate(built, walk, logits, settings, shrinkage=training.shrinkage)
        yield found.verdict.tag, found.scores["test/accuracy"], len(found.calls)


def most_false(series: int) -> int:
    """The number of finds that a true rate of 5 % exceeds once in forty."""
    return int(binom.ppf(0.975, series, 0.05))


def run(control: Control, training: Training = TRAINING) -> tuple[Counter[str], float, int]:
    """Counts of the verdicts, the mean accuracy and the fewest test days, with a counter in a terminal."""
    tags: Counter[str] = Counter()
    accuracies, fewest = [], DAYS
    for tag, accuracy, days in verdicts(control, training):
        tags[tag] += 1
        accuracies.append(accuracy)
        fewest = min(fewest, days)
        if sys.stderr.isatty():
            print(f"\r{control.name}: {tags.total()} of {control.series}", end="", file=sys.stderr)
    return tags, float(np.mean(accuracies)), fewest


def main(share: float = 1.0) -> None:
    print(f"{DAYS} days each, default configuration in float32")
    print(
        f"{'control':9}{'series':>7}{'skill':>7}{'none':>6}{'inconclusive':>14}"
        f"{'accuracy':>10}{'test days':>11}{'s':>6}"
    )
    for control in CONTROLS:
        control = replace(control, series=max(1, round(control.series * share)))
        before = time.perf_counter()
        tags, accuracy, days = run(control)
        seconds = time.perf_counter() - before
        counts = tags["skill"], tags["no evidence of skill"], tags["inconclusive"]
        print(
            f"{control.name:9}{control.series:7}{counts[0]:7}{counts[1]:6}{counts[2]:14}{accuracy:10.3f}{days:11}{seconds:6.0f}"
        )
    print(f"a null or drifting control may find skill {most_false(200)} times in 200")

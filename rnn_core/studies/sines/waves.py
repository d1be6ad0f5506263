"""Sines as sequences, and what a network answers to them."""

from typing import NamedTuple

import numpy as np

from rnn_core.commands import Study
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Folds, Sequences, holdout
from rnn_core.studies.study import Trained

STEPS = 64  # of a sequence of the studies on cosines
DELAY = 5  # steps after which a cosine is asked for in the delayed study
SEEN = STEPS // 2  # steps up to which two sequences are equal, to test what an output has seen
DATA = 20  # the data's random stream


class Waves(NamedTuple):
    """Sines and their targets; the first `train` rows are for training, the others for testing."""

    sequences: Sequences
    train: int

    @property
    def folds(self) -> Folds:
        """One fold of all rows."""
        return holdout(self.train, 0, len(self.sequences) - self.train)


def scored(x: Array, y: Array, train: int) -> Waves:
    """Return inputs (N, T) and targets (N, S) as waves of which every step is scored."""
    mask = np.ones(y.shape, bool)
    sequences = Sequences(x[..., None], y[..., None], mask, loss="mean_squared_error", raw=True)
    return Waves(sequences, train)


class Outcome(NamedTuple):
    """A network's answers on the s test rows.

    Attributes:
        answers: (s, S)
        targets: (s, S)
        errors: (S,) mean squared error by step, NaN at the steps that are not scored.
    """

    answers: Array
    targets: Array
    errors: Array

    @property
    def mse(self) -> float:
        """Mean squared error over the scored steps."""
        return float(np.nanmean(self.errors))

    @property
    def first(self) -> float:
        """Mean squared error of the first scored step."""
        return float(self.errors[np.isfinite(self.errors)][0])

    @property
    def later(self) -> float:
        """Mean squared error of the second half of the steps."""
        return float(self.errors[len(self.errors) // 2 :].mean())


def outcome_of(trained: Trained) -> Outcome:
    """Return the answers of the first network on the test rows."""
    sequences = trained.variant.sequences
    rows = trained.variant.folds.test[0]
    answers = trained.logits[0, :, :, 0]
    targets = sequences.y[rows, :, 0]
    squares = np.where(sequences.mask[rows], (answers - targets) ** 2, np.nan)
    return Outcome(answers, targets, squares.mean(axis=0))


def generator(study: Study) -> np.random.Generator:
    """Return the generator that draws the waves."""
    return np.random.default_rng([study.training.seed, DATA])


def spliced(x: Array) -> Array:
    """Replace what follows the first `SEEN` steps of each x (s, T, I) by another row's steps."""
    return np.concatenate([x[:, :SEEN], np.roll(x, 1, axis=0)[:, SEEN:]], axis=1)

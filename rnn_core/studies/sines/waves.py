"""Sines as sequences, and what a network answered to them."""

from typing import NamedTuple

import numpy as np

from rnn_core.commands import Study
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Folds, Sequences, holdout
from rnn_core.studies.study import (
    Trained,
)

STEPS = 64  # of a sequence of the other studies
DELAY = 5  # steps after which a cosine is asked for in the delayed study
SEEN = STEPS // 2  # steps up to which two sequences are equal, to test what an output has seen
DATA = 20  # marks the data's random stream


class Waves(NamedTuple):
    """Sines and what is asked of them; the first `train` rows are for training, the others for testing."""

    sequences: Sequences
    train: int

    @property
    def folds(self) -> Folds:
        """One fold of all rows."""
        return holdout(self.train, 0, len(self.sequences) - self.train)


def scored(x: Array, y: Array, train: int) -> Waves:
    """Inputs (N, T) and targets (N, S) that are all scored."""
    mask = np.ones(y.shape, bool)
    return Waves(
        Sequences(x[..., None], y[..., None], mask, loss="mean_squared_error", raw=True), train
    )


class Outcome(NamedTuple):
    """What a network answered on the s test rows and what was asked (s, S), and the mean squared error by step (S,).

    The error is NaN at the steps that are not scored.
    """

    answers: Array
    targets: Array
    errors: Array

    @property
    def mse(self) -> float:
        """Mean over the scored steps."""
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
    """Return what the first network answered on the test rows."""
    sequences, rows = trained.variant.sequences, trained.variant.folds.test[0]
    answers, targets = trained.logits[0, :, :, 0], sequences.y[rows, :, 0]
    errors = np.where(sequences.mask[rows], (answers - targets) ** 2, np.nan).mean(axis=0)
    return Outcome(answers, targets, errors)


def generator(study: Study) -> np.random.Generator:
    """Return the generator that the waves are drawn with."""
    return np.random.default_rng([study.training.seed, DATA])


def spliced(x: Array) -> Array:
    """Each of the sequences x (s, T, I) up to `SEEN` steps, and from there on the one before it."""
    return np.concatenate([x[:, :SEEN], np.roll(x, 1, axis=0)[:, SEEN:]], axis=1)

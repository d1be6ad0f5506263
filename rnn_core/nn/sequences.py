"""What a stack learns from: sequences with their targets, and which rows of them train, validate and test each fold."""

from dataclasses import dataclass

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.nn.losses import LossName


@dataclass(frozen=True)
class Sequences:
    """N sequences of up to T steps, with targets at S steps: at every step (S = T), or at the last one (S = 1).

    Attributes:
        x: (N, T, I) inputs.
        y: (N, S, O) targets.
        mask: (N, S) True where the step is scored.
        lengths: (N,) valid steps of each sequence; None means all T.
        loss: the loss that training lowers.
        raw: True leaves the inputs as they are; False standardises them by the training rows.
    """

    x: Array
    y: Array
    mask: Array
    lengths: Array | None = None
    loss: LossName = "binary_cross_entropy"
    raw: bool = False

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Folds:
    """Row numbers of K folds, oldest first, padded at the end with −1.

    Attributes:
        train: (K, n) rows that fit parameters and scaler.
        valid: (K, v) rows that stop the training early.
        test: (K, s) rows predicted out of sample; none in the last fold.
    """

    train: Array
    valid: Array
    test: Array

    def __len__(self) -> int:
        return len(self.train)


def holdout(train: int, valid: int, test: int) -> Folds:
    """Return one fold: the first `train` rows, the next `valid` and the next `test`. For data without an order in time.

    >>> holdout(3, 1, 2).test
    array([[4, 5]])
    """
    rows = np.arange(train + valid + test)[None]
    return Folds(rows[:, :train], rows[:, train : train + valid], rows[:, train + valid :])


def base_rates(sequences: Sequences, train: Array) -> Array:
    """(M,) mean target over the scored steps of each model's training rows `train` (M, n)."""
    scored = [(rows[rows >= 0], sequences.mask[rows[rows >= 0]]) for rows in train]
    return np.array([sequences.y[rows][mask].mean() for rows, mask in scored])

"""What a stack learns from: sequences with targets, and the rows that train, validate and test."""

from dataclasses import dataclass

import numpy as np

from rnn_core.errors import ArrayError
from rnn_core.nn.arrays import Array
from rnn_core.nn.losses import LossName


@dataclass(frozen=True)
class Sequences:
    """N sequences of up to T steps, with targets at every step (S = T) or at the last one (S = 1).

    Attributes:
        x: (N, T, I) inputs.
        y: (N, S, O) targets.
        mask: (N, S) True where the step is scored.
        lengths: (N,) valid steps of each sequence; None means all T.
        loss: the loss to minimise.
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
        train: (K, n) rows that fit parameters and standardisation.
        valid: (K, v) rows whose loss decides when to stop.
        test: (K, s) rows to predict out of sample; a walk-forward's last fold has none.
    """

    train: Array
    valid: Array
    test: Array

    def __len__(self) -> int:
        return len(self.train)


def holdout(train: int, valid: int, test: int) -> Folds:
    """Return one fold: the first `train` rows, the next `valid` and the next `test`.

    It is for data without an order in time.

    Raises:
        ArrayError: a number is not whole, or negative.

    >>> holdout(3, 1, 2).test
    array([[4, 5]])
    """
    for name, count in (("train", train), ("valid", valid), ("test", test)):
        if not isinstance(count, int | np.integer) or count < 0:
            received = f"holdout: {name} is {count!r}"
            raise ArrayError(f"{received}; a whole number of 0 or more is expected")
    rows = np.arange(train + valid + test)[None]
    return Folds(rows[:, :train], rows[:, train : train + valid], rows[:, train + valid :])


def base_rates(sequences: Sequences, train: Array) -> Array:
    """Return the mean target (M,) over the scored steps of each model's training rows (M, n).

    >>> y = np.array([0.0, 1.0, 1.0, 0.0]).reshape(4, 1, 1)
    >>> sequences = Sequences(np.zeros((4, 5, 1)), y, mask=np.ones((4, 1), bool))
    >>> base_rates(sequences, np.array([[0, 1, -1], [0, 1, 2]])).round(2)  # −1 is padding
    array([0.5 , 0.67])
    """
    return np.array([_mean_target(sequences, rows[rows >= 0]) for rows in train])


def _mean_target(sequences: Sequences, rows: Array) -> float:
    scored = sequences.mask[rows]
    mean: float = sequences.y[rows][scored].mean()
    return mean

"""Baselines: forecasts without a network, on the same folds.

Each fold's baselines learn from its training rows only. The network uses the validation rows only
for early stopping, which no baseline needs; to fit on them too would be another comparison.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import expit

from rnn_core.errors import ArrayError
from rnn_core.evaluation.metrics import CALLS_UP, called_up
from rnn_core.nn.arrays import Array

ByName: TypeAlias = dict[str, Array]
"""Forecasts (n,) of the n test rows, ordered as `test[test >= 0]`, by the name of the baseline."""

BASELINES = {
    "majority": "always the majority class",
    "reversal": "opposite of yesterday",
    "persistence": "same as yesterday",
    "logistic": "logistic regression",
}
"""The baselines that reports compare the network with: name → description."""


@dataclass(frozen=True)
class Baselines:
    """Forecasts of the baselines, by the names of `BASELINES`.

    Attributes:
        probability: {name: (n,)} that the next session closes up, inside (0, 1).
        called: {name: (n,)} 0 or 1: the call; at a probability of ½ it is the rule's own.
    """

    probability: ByName
    called: ByName


def direction_baselines(x: Array, y: Array, returns: Array, train: Array, test: Array) -> Baselines:
    """Return forecasts of the next session's direction at the test rows of K folds.

    - majority: the training base rate of up; up is called at ½ too.
    - persistence, reversal: the session's own direction (up if its return is above 0), or the
      opposite. The probability of being right is the rule's share of hits in the training rows and
      at least ½: a rule that was wrong more often than right does not become the other rule.
    - logistic: scikit-learn's LogisticRegression, C = 1, on the T × I values of the window, each
      standardised by the training rows; the base rate if these have only one class.

    A share of 0 or 1 of n training rows is replaced by Laplace's rule of succession, 1/(n + 2) from
    the end, so that every log loss is finite.

    Args:
        x: (N, T, I) windows.
        y: (N,) 1 if the next session closed up, 0 if down, NaN if not known yet.
        returns: (N,) log return of the session at whose close the call is made.
        train: (K, n) row numbers, padded with −1.
        test: (K, s) row numbers, padded with −1.

    Raises:
        ArrayError: a training row has no label, or a tested fold has no training row.
    """
    rows, fold = _tested(y, train, test)
    rose = returns > 0
    base_rate = _share(y == 1, train)[fold]
    persisted = _share(rose == y, train)[fold]  # the share of hits; reversal hits in the rest
    logistic = _logistic(x.reshape(len(x), -1), y, train, test, base_rate)
    return Baselines(
        probability={
            "majority": base_rate,
            "persistence": _rule(rose[rows], np.maximum(persisted, 0.5)),
            "reversal": _rule(~rose[rows], np.maximum(1 - persisted, 0.5)),
            "logistic": logistic,
        },
        called={
            "majority": (base_rate >= CALLS_UP).astype(int),
            "persistence": rose[rows].astype(int),
            "reversal": (~rose[rows]).astype(int),
            "logistic": called_up(logistic).astype(int),
        },
    )


def _rule(calls_up: Array, right: Array) -> Array:
    """Return the probability (n,) of up of a rule that is right with probability `right` (n,)."""
    return np.where(calls_up, right, 1 - right)


def regression_baselines(last: Array, y: Array, train: Array, test: Array) -> ByName:
    """Return the forecasts `last_value` and `training_mean` of a number, in the unit of y.

    Args:
        last: (N,) the last value seen at each row.
        y: (N,) targets.
        train: (K, n) row numbers, padded with −1.
        test: (K, s) row numbers, padded with −1.

    Raises:
        ArrayError: a training row has no target, or a tested fold has no training row.
    """
    rows, fold = _tested(y, train, test)
    known = train >= 0
    total = np.where(known, y[train], 0).sum(axis=1)
    mean = total / np.maximum(known.sum(axis=1), 1)
    return {"last_value": last[rows], "training_mean": mean[fold]}


def _tested(y: Array, train: Array, test: Array) -> tuple[Array, Array]:
    """Return the test rows (n,) of all folds in order, and the fold of each."""
    if np.isnan(y[train[train >= 0]]).any():
        raise ArrayError(
            "a training row of y is NaN: rows whose next session is not known cannot train"
        )
    tested = test >= 0
    untrained = (train < 0).all(axis=1)
    if (untrained & tested.any(axis=1)).any():
        raise ArrayError(f"train of shape {train.shape} has a tested fold without rows")
    return test[tested], np.nonzero(tested)[0]


def _share(of: Array, train: Array) -> Array:
    """Return the share (K,) of each fold's training rows that are true in `of` (N,)."""
    known = train >= 0
    count = known.sum(axis=1)
    share = (of[train] & known).sum(axis=1) / np.maximum(count, 1)
    lowest = 1 / (count + 2)
    highest = (count + 1) / (count + 2)
    return np.asarray(np.clip(share, lowest, highest))


def _logistic(x: Array, y: Array, train: Array, test: Array, base_rate: Array) -> Array:
    """Return the probability (n,) of up from x (N, D); `base_rate` (n,) for folds of one class."""
    from threadpoolctl import threadpool_limits

    probability = base_rate.copy()
    first = 0
    # On arrays this small a second thread only costs, and sums in another order
    with threadpool_limits(1):
        for train_rows, test_rows in zip(train, test, strict=True):
            fitted = train_rows[train_rows >= 0]
            tested = test_rows[test_rows >= 0]
            last = first + len(tested)
            if len(tested) and len(np.unique(y[fitted])) == 2:
                probability[first:last] = _fitted_logistic(x[fitted], y[fitted], x[tested])
            first = last
    return probability


def _fitted_logistic(x: Array, y: Array, x_test: Array) -> Array:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(scaler.transform(x), y)
    # Summed row by row: a matrix product gives other bits for other numbers of rows
    logits = (scaler.transform(x_test) * model.coef_).sum(axis=1) + model.intercept_
    return np.asarray(expit(logits))

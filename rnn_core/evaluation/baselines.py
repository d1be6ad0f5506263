"""Baselines: forecasts without a network, on the same folds.

Each fold's baselines learn from its training rows. Like the network, those with something to choose
(a penalty, a number of trees) choose it by the loss on the validation rows, and like the network's,
their probabilities are shrunk towards the training base rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.special import expit

from rnn_core.errors import ArrayError
from rnn_core.evaluation.metrics import CALLS_UP, called_up, log_losses
from rnn_core.nn.arrays import Array
from rnn_core.nn.ensemble import shrunk
from rnn_core.nn.sequences import Folds

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C of the logistic regression, strongest first
TREES = 20  # at most
LEARNED = ("logistic", "boosting")  # they call by their probability; the others by a rule

ByName: TypeAlias = dict[str, Array]
"""Forecasts (n,) of the n test rows, ordered as `test[test >= 0]`, by the name of the baseline."""

BASELINES = {
    "majority": "always the majority class",
    "reversal": "opposite of yesterday",
    "persistence": "same as yesterday",
    "logistic": "logistic regression",
    "boosting": "gradient boosting",
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


def direction_baselines(
    x: Array, y: Array, returns: Array, folds: Folds, shrinkage: float
) -> Baselines:
    """Return forecasts of the next session's direction at the test rows of K folds.

    - majority: the training base rate of up; up is called at ½ too.
    - persistence, reversal: the session's own direction (up if its return is above 0), or the
      opposite. The probability of being right is the rule's share of hits in the training rows and
      at least ½: a rule that was wrong more often than right does not become the other rule.
    - logistic: scikit-learn's LogisticRegression on the T × I values of the window, each
      standardised by the training rows; of four penalties the one with the lowest validation loss.
    - boosting: scikit-learn's HistGradientBoostingClassifier on the same values, trees of four
      leaves; as many, up to 20, as have the lowest validation loss.

    The last two forecast the base rate if the training rows have only one class. A share of 0 or 1
    of n training rows is replaced by Laplace's rule of succession, 1/(n + 2) from the end, so that
    every log loss is finite.

    Args:
        x: (N, T, I) windows.
        y: (N,) 1 if the next session closed up, 0 if down, NaN if not known yet.
        returns: (N,) log return of the session at whose close the call is made.
        folds: row numbers of the K folds.
        shrinkage: how far each probability is shrunk towards the base rate, from 0 to 1.

    Raises:
        ArrayError: a training row has no label, or a tested fold has no training row.
    """
    rows, fold = _tested(y, folds.train, folds.test)
    rose = returns > 0
    base_rate = _share(y == 1, folds.train)[fold]
    persisted = _share(rose == y, folds.train)[fold]  # the share of hits; reversal hits in the rest
    values = x.reshape(len(x), -1)
    probability = {
        "majority": base_rate,
        "persistence": _rule(rose[rows], np.maximum(persisted, 0.5)),
        "reversal": _rule(~rose[rows], np.maximum(1 - persisted, 0.5)),
        "logistic": _learned(_logistic, values, y, folds, base_rate),
        "boosting": _learned(_boosting, values, y, folds, base_rate),
    }
    served = {name: shrunk(p, base_rate, shrinkage) for name, p in probability.items()}
    return Baselines(
        probability=served,
        called={
            "majority": (base_rate >= CALLS_UP).astype(int),
            "persistence": rose[rows].astype(int),
            "reversal": (~rose[rows]).astype(int),
            "logistic": called_up(served["logistic"]).astype(int),
            "boosting": called_up(served["boosting"]).astype(int),
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


class _Rows(NamedTuple):
    """The values (n, D) and labels (n,) that a fold learns and chooses from; the values to test."""

    x: Array
    y: Array
    x_valid: Array
    y_valid: Array
    x_test: Array


Learn: TypeAlias = Callable[[_Rows], Array]
"""Fits one fold and returns the probability of up at its test rows."""


def _learned(learn: Learn, x: Array, y: Array, folds: Folds, base_rate: Array) -> Array:
    """Return the probability (n,) of up from x (N, D); `base_rate` (n,) for folds of one class."""
    from threadpoolctl import threadpool_limits

    probability = base_rate.copy()
    first = 0
    # On arrays this small a second thread only costs, and sums in another order
    with threadpool_limits(1):
        for padded in zip(folds.train, folds.valid, folds.test, strict=True):
            train, valid, test = (rows[rows >= 0] for rows in padded)
            last = first + len(test)
            if len(test) and len(np.unique(y[train])) == 2:
                rows = _Rows(x[train], y[train], x[valid], y[valid], x[test])
                probability[first:last] = learn(rows)
            first = last
    return probability


def _logistic(rows: _Rows) -> Array:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(rows.x)
    x = scaler.transform(rows.x)
    fitted = [LogisticRegression(C=penalty, max_iter=1000).fit(x, rows.y) for penalty in PENALTIES]

    def forecasts(x: Array) -> list[Array]:
        # Summed row by row: a matrix product gives other bits for other numbers of rows
        scaled = scaler.transform(x)
        return [
            np.asarray(expit((scaled * model.coef_).sum(axis=1) + model.intercept_))
            for model in fitted
        ]

    return _best(forecasts, rows)


def _boosting(rows: _Rows) -> Array:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=TREES, max_leaf_nodes=4, max_bins=32, early_stopping=False
    ).fit(rows.x, rows.y)

    def forecasts(x: Array) -> list[Array]:
        no_tree = np.full(len(x), rows.y.mean())
        return [no_tree, *(stage[:, 1] for stage in model.staged_predict_proba(x))]

    return _best(forecasts, rows)


def _best(forecasts: Callable[[Array], Sequence[Array]], rows: _Rows) -> Array:
    """Return the forecasts of the test rows by the candidate with the lowest validation loss.

    Candidates are in ascending order of freedom; without validation rows the first is taken.
    """
    if len(rows.y_valid) == 0:
        return forecasts(rows.x_test)[0]
    losses = [log_losses(rows.y_valid, p).mean() for p in forecasts(rows.x_valid)]
    return forecasts(rows.x_test)[int(np.argmin(losses))]

"""What must be beaten: forecasts without a network, through the same folds.

Each fold's baselines learn from its training rows alone. The network uses the validation rows only to stop; none of
these has anything to stop, and what is fitted on more rows would be another comparison.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import expit

from rnn_core.errors import ArrayError
from rnn_core.evaluation.metrics import called_up
from rnn_core.nn.arrays import Array

ByName: TypeAlias = dict[str, Array]
"""(n,) forecasts of the n test rows in the order of `test[test >= 0]`, by the name of the baseline."""


@dataclass(frozen=True)
class Baselines:
    """Forecasts of the baselines `majority`, `persistence`, `reversal` and `logistic`.

    Attributes:
        probability: {name: (n,)} that the next session closes up, inside (0, 1).
        called: {name: (n,)} 0 or 1: the call, which stays the rule's own where its probability is ½.
    """

    probability: ByName
    called: ByName


def direction_baselines(x: Array, y: Array, returns: Array, train: Array, test: Array) -> Baselines:
    """Forecasts of the next session's direction at the test rows of K folds.

    From windows x (N, T, I), what the next session brought y (N,) (1 up, 0 down; NaN where not known yet), the log
    return of the session at whose close the call is made, returns (N,), and the folds' row numbers train (K, n) and
    test (K, s), padded with −1:

    - majority: the training base rate of up; up is called at ½ too.
    - persistence, reversal: the session's own direction (up if its return is above 0), or the opposite. The
      probability of being right is the rule's share of hits in the training rows and at least ½: a rule that was
      wrong more often than right is worth nothing, and does not become the other rule.
    - logistic: scikit-learn's LogisticRegression, C = 1, on the T × I values of the window, each standardised by the
      training rows; the base rate where these have one class only.

    A share of 0 or 1 of n training rows is taken as Laplace's rule of succession says, 1/(n + 2) from the end, so
    that every log loss is finite.

    Raises:
        ArrayError: a training row has no label, or a fold that is tested no training row.
    """
    rows, fold = _tested(y, train, test)
    rose = returns > 0
    base = _share(y == 1, train)[fold]
    kept = _share(rose == y, train)[fold]  # persistence was right, and reversal in all the rest
    right = {"persistence": np.maximum(kept, 0.5), "reversal": np.maximum(1 - kept, 0.5)}
    goes_up = {"persistence": rose[rows], "reversal": ~rose[rows]}
    logistic = _logistic(x.reshape(len(x), -1), y, train, test, base)
    return Baselines(
        probability={
            "majority": base,
            **{rule: np.where(goes_up[rule], right[rule], 1 - right[rule]) for rule in right},
            "logistic": logistic,
        },
        called={
            "majority": (base >= 0.5).astype(int),
            **{rule: call.astype(int) for rule, call in goes_up.items()},
            "logistic": called_up(logistic).astype(int),
        },
    )


def regression_baselines(last: Array, y: Array, train: Array, test: Array) -> ByName:
    """Forecasts of a number at the test rows of K folds: `last_value` and `training_mean`, in the unit of y.

    From the last value seen at each row, last (N,), the targets y (N,), and the folds' row numbers train (K, n) and
    test (K, s), padded with −1.

    Raises:
        ArrayError: a training row has no target, or a fold that is tested no training row.
    """
    rows, fold = _tested(y, train, test)
    known = train >= 0
    mean = np.where(known, y[train], 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return {"last_value": last[rows], "training_mean": mean[fold]}


def _tested(y: Array, train: Array, test: Array) -> tuple[Array, Array]:
    """The test rows (n,) of all folds in their order, and the fold of each."""
    if np.isnan(y[train[train >= 0]]).any():
        raise ArrayError(
            "a training row of y is NaN: rows whose next session is not known cannot train"
        )
    tested = test >= 0
    if ((train < 0).all(axis=1) & tested.any(axis=1)).any():
        raise ArrayError(
            f"train of shape {train.shape} has a fold without rows, and that fold is tested"
        )
    return test[tested], np.nonzero(tested)[0]


def _share(of: Array, train: Array) -> Array:
    """(K,) how many of each fold's training rows are true in of (N,); at the ends Laplace's rule of succession."""
    known = train >= 0
    count = known.sum(axis=1)
    share = (of[train] & known).sum(axis=1) / np.maximum(count, 1)
    return np.asarray(np.clip(share, 1 / (count + 2), (count + 1) / (count + 2)))


def _logistic(x: Array, y: Array, train: Array, test: Array, base: Array) -> Array:
    """(n,) probability of up from x (N, D); `base` (n,) where the training rows have one class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    probability, done = base.copy(), 0
    with threadpool_limits(
        1
    ):  # on arrays this small a second thread only costs, and sums in another order
        for fitted, tested in zip(train, test, strict=True):
            fitted, tested = fitted[fitted >= 0], tested[tested >= 0]
            here = slice(done, done := done + len(tested))
            if len(tested) and len(np.unique(y[fitted])) == 2:
                scaler = StandardScaler().fit(x[fitted])
                model = LogisticRegression(C=1.0, max_iter=1000).fit(
                    scaler.transform(x[fitted]), y[fitted]
                )
                # Summed row by row: a matrix product gives other bits for other numbers of rows.
                logits = (scaler.transform(x[tested]) * model.coef_).sum(axis=1) + model.intercept_
                probability[here] = expit(logits)
    return probability

"""The out-of-sample calls of every fold, scored once, beside the baselines through the same folds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from rnn_core.arrays import Array
from rnn_core.folds import Folds
from rnn_core.metrics import scores, with_interval
from rnn_core.problems import Windows
from rnn_core.training import ensemble


@dataclass(frozen=True)
class Evaluation:
    """What was forecast on the test days, and what happened.

    Attributes:
        calls: one row a test day, by the date of the call: `fold`, `probability` that the next session closes up,
            `spread` over the seeds, `up` (0 or 1: what happened), `next_return` (log), and the calls of the
            baselines `majority` and `reversal` (0 or 1).
        scores: by metric name, `test/…` and `baseline/…`; undefined ones are left out.
        confusion: 2 × 2 counts, rows what happened (down, up), columns what was called.
        folds: one row a fold: `first` and `last` test day, `days`, `hits`, `accuracy`, its interval `low`..`high`,
            and the `majority` baseline's accuracy.
    """

    calls: pd.DataFrame
    scores: dict[str, float]
    confusion: Array
    folds: pd.DataFrame


def evaluate(windows: Windows, folds: Folds, logits: Array) -> Evaluation:
    """Score the logits (K × seeds, s, 1, 1) of the test rows of K folds."""
    calls = _calls(windows, folds, logits)
    up, called = calls["up"].to_numpy(), (calls["probability"] > 0.5).to_numpy()
    found = {f"test/{name}": value for name, value in scores(up, calls["probability"].to_numpy()).items()}
    for baseline in ("majority", "reversal"):
        found[f"baseline/{baseline}_accuracy"] = float((calls[baseline] == calls["up"]).mean())
    return Evaluation(calls, found, confusion_matrix(up, called, labels=[0, 1]), _by_fold(calls))


def _calls(windows: Windows, folds: Folds, logits: Array) -> pd.DataFrame:
    tested = folds.test >= 0
    rows, fold = folds.test[tested], np.nonzero(tested)[0]
    by_seed = np.moveaxis(logits[..., 0, 0].reshape(len(folds), -1, folds.test.shape[1]), 1, 2)  # (K, s, seeds)
    probability, spread = ensemble(by_seed[tested])
    return pd.DataFrame(
        {
            "fold": fold,
            "probability": probability,
            "spread": spread,
            "up": windows.y[rows, 0, 0].astype(int),
            "next_return": windows.next_returns[rows],
            "majority": _majority(windows, folds)[fold],
            "reversal": (windows.returns[rows] <= 0).astype(int),
        },
        index=windows.dates[rows].rename("date"),
    )


def _majority(windows: Windows, folds: Folds) -> Array:
    """(K,) the more frequent class of each fold's training rows; up if both are equally so."""
    return np.array([windows.y[rows[rows >= 0]].mean() >= 0.5 for rows in folds.train]).astype(int)


def _by_fold(calls: pd.DataFrame) -> pd.DataFrame:
    hit = (calls["probability"] > 0.5) == calls["up"]
    judged = calls.assign(hit=hit, majority=calls["majority"] == calls["up"]).reset_index().groupby("fold")
    table = judged.agg(
        first=("date", "first"),
        last=("date", "last"),
        days=("hit", "size"),
        hits=("hit", "sum"),
        accuracy=("hit", "mean"),
        majority=("majority", "mean"),
    )
    return with_interval(table)

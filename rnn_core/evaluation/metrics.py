"""Scores of probabilities against what happened, and the intervals that say how little they may mean."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from rnn_core.nn.arrays import Array


def called_up(probability: Any) -> Any:
    """Return True where the probability of closing up calls up, which it does above ½: a number, an array or a Series.

    >>> called_up(np.array([0.4, 0.5, 0.6]))
    array([False, False,  True])
    """
    return probability > 0.5


def scores(up: Array, probability: Array) -> dict[str, float]:
    """Accuracy at ½, mean log loss (nats), Brier score and area under the ROC curve of n calls.

    `up` (n,) is 1 where the session closed up, `probability` (n,) in [0, 1]. With one class only the area is
    undefined and left out.
    """
    found = {
        "accuracy": accuracy_score(up, called_up(probability)),
        "log_loss": log_loss(up, probability, labels=[0, 1]),
        "brier": brier_score_loss(up, probability, pos_label=1),
    }
    if len(np.unique(up)) == 2:
        found["auc"] = roc_auc_score(up, probability)
    return {name: float(value) for name, value in found.items()}


def log_losses(up: Array, probability: Array) -> Array:
    """(n,) −log of the probability that was given to what happened, in nats."""
    certain = np.finfo(float).tiny  # a wrong certainty costs 708, not infinity
    return np.asarray(-np.log(np.maximum(np.where(up == 1, probability, 1 - probability), certain)))


def calibration(up: Array, probability: Array, bins: int = 10) -> dict[str, float]:
    """Murphy's (1973) parts of the Brier score, and the expected calibration error, over bins of equal count.

    Brier = reliability − resolution + uncertainty, exactly so where the forecasts of a bin are equal. The calibration
    error is the mean distance of a bin's forecast from its frequency (Naeini, Cooper and Hauskrecht 2015).
    """
    table, base = reliability(up, probability, bins), up.mean()
    weight = table["days"] / len(up)
    gap = table["forecast"] - table["frequency"]
    found = {
        "brier_reliability": (weight * gap**2).sum(),
        "brier_resolution": (weight * (table["frequency"] - base) ** 2).sum(),
        "brier_uncertainty": base * (1 - base),
        "calibration_error": (weight * gap.abs()).sum(),
    }
    return {name: float(value) for name, value in found.items()}


def wilson_interval(hits: int, days: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion of `hits` in `days` (Wilson, 1927)."""
    interval = binomtest(hits, days).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def reliability(up: Array, probability: Array, bins: int = 10) -> pd.DataFrame:
    """Calls in equally filled bins: mean `forecast`, `frequency` of up with its interval `low`..`high`, and `days`."""
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
    grouped = pd.DataFrame({"up": up, "forecast": probability}).groupby(
        np.searchsorted(edges, probability)
    )
    table = grouped.agg(
        forecast=("forecast", "mean"), hits=("up", "sum"), days=("up", "size")
    ).reset_index(drop=True)
    table["frequency"] = table["hits"] / table["days"]
    return with_interval(table)


def with_interval(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `low` and `high`, the Wilson interval of its columns `hits` of `days`."""
    pairs = zip(table["hits"], table["days"], strict=True)
    intervals = [wilson_interval(int(hits), int(days)) for hits, days in pairs]
    return table.assign(low=[low for low, _ in intervals], high=[high for _, high in intervals])

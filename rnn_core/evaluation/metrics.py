"""Scores of probabilities against outcomes, and their intervals."""

from math import log
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from rnn_core.nn.arrays import Array

CALLS_UP = 0.5  # the probability of closing up above which up is called
CHANCE = 0.5  # the accuracy of a coin toss
COIN_TOSS = log(2)  # the log loss of p = ½, in nats
CONFIDENCE = 0.95  # of every interval


def called_up(probability: Any) -> Any:
    """Return True if the probability of closing up, above ½, calls up: of a number or an array.

    >>> called_up(np.array([0.4, 0.5, 0.6]))
    array([False, False,  True])
    """
    return probability > CALLS_UP


def scores(up: Array, probability: Array) -> dict[str, float]:
    """Return the scores of n calls: accuracy, mean log loss (nats), Brier score and AUC.

    `up` (n,) is 1 if the session closed up, else 0; `probability` (n,) is in [0, 1]. With one class
    only, the area under the ROC curve is undefined and left out.

    >>> scores(np.array([1, 0]), np.array([0.75, 0.5]))["brier"]
    0.15625
    """
    by_name = {
        "accuracy": accuracy_score(up, called_up(probability)),
        "log_loss": log_loss(up, probability, labels=[0, 1]),
        "brier": brier_score_loss(up, probability, pos_label=1),
    }
    if len(np.unique(up)) == 2:
        by_name["auc"] = roc_auc_score(up, probability)
    return {name: float(value) for name, value in by_name.items()}


def log_losses(up: Array, probability: Array) -> Array:
    """Return −log of the probability (n,) given to each outcome, up (n,) 0 or 1; in nats.

    >>> log_losses(np.array([1, 0]), np.array([0.5, 0.5])).round(4)
    array([0.6931, 0.6931])
    """
    certain = np.finfo(float).tiny  # a wrong certainty costs 708, not infinity
    likelihood = np.where(up == 1, probability, 1 - probability)
    return np.asarray(-np.log(np.maximum(likelihood, certain)))


def calibration(up: Array, probability: Array, bins: int = 10) -> dict[str, float]:
    """Return Murphy's (1973) parts of the Brier score, and the expected calibration error.

    Both are over bins of equal count. Brier = reliability − resolution + uncertainty, exactly if
    the forecasts in each bin are equal. The calibration error is the mean distance of a bin's
    forecast from its frequency (Naeini, Cooper and Hauskrecht, 2015).
    """
    table = reliability(up, probability, bins)
    base_rate = up.mean()
    weight = table["days"] / len(up)
    gap = table["forecast"] - table["frequency"]
    parts = {
        "brier_reliability": (weight * gap**2).sum(),
        "brier_resolution": (weight * (table["frequency"] - base_rate) ** 2).sum(),
        "brier_uncertainty": base_rate * (1 - base_rate),
        "calibration_error": (weight * gap.abs()).sum(),
    }
    return {name: float(value) for name, value in parts.items()}


def wilson_interval(hits: int, days: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's (1927) interval of a proportion of `hits` in `days`.

    >>> low, high = wilson_interval(55, 100)
    >>> round(low, 3), round(high, 3)
    (0.452, 0.644)
    """
    interval = binomtest(hits, days).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def reliability(up: Array, probability: Array, bins: int = 10) -> pd.DataFrame:
    """Return the calls (n,) in bins of equal count, one row each.

    Its columns: the mean `forecast`, how many of the `days` closed up, `hits`, and their
    `frequency` with its interval `low`..`high`.
    """
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
    calls = pd.DataFrame({"up": up, "forecast": probability})
    by_bin = calls.groupby(np.searchsorted(edges, probability))
    table = by_bin.agg(forecast=("forecast", "mean"), hits=("up", "sum"), days=("up", "size"))
    table = table.reset_index(drop=True)
    table["frequency"] = table["hits"] / table["days"]
    return with_interval(table)


def with_interval(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with `low` and `high`, the Wilson interval of its `hits` in `days`."""
    pairs = zip(table["hits"], table["days"], strict=True)
    intervals = [wilson_interval(int(hits), int(days)) for hits, days in pairs]
    return table.assign(low=[low for low, _ in intervals], high=[high for _, high in intervals])

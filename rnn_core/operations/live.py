"""What settled forecasts say of the models that made them, and what a user should be told of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import e
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import lambertw
from scipy.stats import ks_2samp

from rnn_core.evaluation.metrics import called_up, scores
from rnn_core.evaluation.significance import ALPHA, holm
from rnn_core.nn.arrays import Array, check_array

NARROWEST_AFTER = 250  # sessions: the confidence sequence is narrowest after about a year


@dataclass(frozen=True)
class LiveRecord:
    """Settled forecasts, and beside them what the models that made them had promised: means over the forecasts.

    Attributes:
        days: settled forecasts.
        hits: those that were right.
        accuracy: hits / days.
        low: lower end of the confidence sequence of the accuracy after the last day.
        high: its upper end.
        log_loss: mean, in nats.
        brier: mean squared distance of the probability from what happened.
        promised_accuracy: accuracy of the walk-forward of those models.
        promised_low: lower end of its interval.
        promised_high: its upper end.
        promised_log_loss: log loss of the walk-forward, in nats.
    """

    days: int
    hits: int
    accuracy: float
    low: float
    high: float
    log_loss: float
    brier: float
    promised_accuracy: float
    promised_low: float
    promised_high: float
    promised_log_loss: float


@dataclass(frozen=True)
class Alarm:
    """Something a user should look at: its kind, and one sentence with the figures."""

    kind: Literal["performance", "drift", "stale"]
    text: str


def confidence_sequence(
    hits: Array, *, alpha: float = ALPHA, tightest: int = NARROWEST_AFTER
) -> tuple[Array, Array]:
    """Intervals low (n,) and high (n,) of the accuracy after each day, which all hold at once.

    With probability 1 − `alpha` there is no day t on which the mean chance of a hit up to then lies outside, however
    often and for however long one looks. That chance may change from day to day, also with what happened before. Of
    hits (n,), 0 or 1, with V = t/4 the interval is

        mean ± √((V + ρ) log((V + ρ) / (ρ α²))) / t,

    cut to [0, 1]: the two-sided normal mixture bound (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon,
    Time-uniform, Nonparametric, Nonasymptotic Confidence Sequences, AoS 49 (2021) 1055–1080, equation 14). A value
    in [0, 1] varies about its expectation as a normal one of variance ¼ at most (Hoeffding). ρ = V / (−W₋₁(−α²/e) − 1)
    makes it the narrowest possible after `tightest` days. Where the chance changes, an early interval need
    not hold a later mean, so the intervals are not intersected.
    """
    days = np.arange(1, len(hits) + 1)
    variance = days / 4
    rho = tightest / 4 / (-lambertw(-(alpha**2) / e, -1).real - 1)
    margin = np.sqrt((variance + rho) * np.log((variance + rho) / (rho * alpha**2))) / days
    accuracy = np.cumsum(hits) / days
    return np.maximum(accuracy - margin, 0), np.minimum(accuracy + margin, 1)


def in_live_record(forecasts: pd.DataFrame) -> "pd.Series[bool]":
    """Return a mask of the rows of the ledger that make the live record: those that count and whose outcome is known.

    `forecasts` has the columns of `Ledger.forecasts`.
    """
    return forecasts["counted"] & forecasts["up"].notna()


def live_record(settled: pd.DataFrame) -> LiveRecord | None:
    """The record of forecasts with a known outcome, one a session, or None if there are none.

    `settled` has a row a session with the columns `probability` of closing up, `up` (bool), `promised_accuracy`,
    `promised_low`, `promised_high` and `promised_log_loss`. A call is up where the probability is above ½.
    """
    if settled.empty:
        return None
    up, probability = settled["up"].to_numpy(int), settled["probability"].to_numpy(float)
    hits = called_up(probability) == up
    low, high = confidence_sequence(hits)
    found = scores(up, probability)
    return LiveRecord(
        days=len(hits),
        hits=int(hits.sum()),
        accuracy=found["accuracy"],
        low=float(low[-1]),
        high=float(high[-1]),
        log_loss=found["log_loss"],
        brier=found["brier"],
        promised_accuracy=float(settled["promised_accuracy"].mean()),
        promised_low=float(settled["promised_low"].mean()),
        promised_high=float(settled["promised_high"].mean()),
        promised_log_loss=float(settled["promised_log_loss"].mean()),
    )


def drift(reference: Array, recent: Array, names: Sequence[str]) -> dict[str, float]:
    """By name of a feature, the p-value that its recent values are distributed as those of reference.

    Two-sided Kolmogorov–Smirnov tests of recent (m, I) against reference (n, I), adjusted over the I features (Holm).
    They take the sessions for independent, which markets' are not: volatility clusters. Of 600 GARCH walks without
    any change, looked at on 250 days in a row with m = 60, n = 600 and the features `return` and `direction`, the
    lowest p-value was at least once below

        0.05 in 79 %,  0.01 in 44 %,  0.001 in 13 %,  0.0001 in 4 %  (of all looks: 9.5, 3.5, 0.9 and 0.3 %),

    so 0.0001 is a level to be alarmed at; of ten years each of AAPL and MSFT, to 2013, one had such a look. At that
    level trebled volatility is found in 45 % of walks after 60 sessions, and with m = 120 in 83 % after 120. A rolling
    `volatility` is not for this test, as its values share returns: alone it was below 0.0001 in every walk, and
    `abs_return` in 47 %. Nor does `volume_change` show another unit of volume, which moves one session only.

    Raises:
        ArrayError: another number of columns than of names, or a value that is not finite.
    """
    check_array("reference", reference, (None, len(names)), axes="sessions, features")
    check_array("recent", recent, (None, len(names)), axes="sessions, features")
    pvalues = [
        ks_2samp(before, now).pvalue for before, now in zip(reference.T, recent.T, strict=True)
    ]
    return dict(zip(names, holm(np.array(pvalues)).tolist(), strict=True))


def alarms(
    record: LiveRecord | None,
    drift: Mapping[str, float],
    missing: int,
    *,
    level: float,
    tolerated: int,
) -> list[Alarm]:
    """What a user should be told of a ticker; mostly nothing.

    - `performance`: the confidence sequence of the accuracy and the promised range do not meet. Better than promised is
      suspect too.
    - `drift`: p-values by feature, as `drift` gives them, below `level`.
    - `stale`: more than `tolerated` sessions have closed without a price; `missing` counts them.
    """
    found = []
    if record is not None and (
        record.high < record.promised_low or record.low > record.promised_high
    ):
        found.append(Alarm("performance", _performance(record)))
    changed = [f"{name} (p {pvalue:.1e})" for name, pvalue in drift.items() if pvalue < level]
    if changed:
        found.append(
            Alarm(
                "drift",
                f"recent inputs are not distributed as those before them: {', '.join(changed)}",
            )
        )
    if missing > tolerated:
        found.append(
            Alarm(
                "stale",
                f"closed sessions without a price: {missing}, of which {tolerated} are tolerated",
            )
        )
    return found


def _performance(record: LiveRecord) -> str:
    worse = record.accuracy < record.promised_accuracy
    return (
        f"{record.hits} of {record.days} calls were right, {record.accuracy:.1%} "
        f"({record.low:.1%} to {record.high:.1%}), {'worse' if worse else 'suspiciously better'} "
        f"than the promised {record.promised_accuracy:.1%} "
        f"({record.promised_low:.1%} to {record.promised_high:.1%})"
    )

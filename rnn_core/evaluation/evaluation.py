"""Score and judge the out-of-sample calls of all folds, next to baselines on the same folds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from rnn_core.config import Evaluation as Settings
from rnn_core.data.windows import Windows
from rnn_core.evaluation import backtest, names
from rnn_core.evaluation.accounts import (
    account_of,
    account_scores,
    backtest_scores,
    other_accounts,
    timing_scores,
    worth,
)
from rnn_core.evaluation.backtest import Backtest, Strategy, Timing
from rnn_core.evaluation.baselines import Baselines, direction_baselines
from rnn_core.evaluation.evidence import (
    Calls,
    Scores,
    baseline_showings,
    calls_to_test,
    showing,
    significance_scores,
)
from rnn_core.evaluation.metrics import (
    calibration,
    called_up,
    log_losses,
    scores,
    wilson_interval,
    with_interval,
)
from rnn_core.evaluation.spending import FIRST_LOOK, Look
from rnn_core.evaluation.verdict import Verdict, verdict
from rnn_core.nn.arrays import Array
from rnn_core.nn.ensemble import ensemble
from rnn_core.nn.sequences import Folds, base_rates

DIRECTIONS = ("down", "up")


@dataclass(frozen=True)
class Evaluation:
    """Forecasts and outcomes of the test days, their scores, and the verdict.

    Attributes:
        verdict: whether the network has shown skill, and why.
        calls: one row a test day, by the date of the call: `fold`, `probability` that the next
            session closes up, `spread` over the seeds, `up` (the outcome: 0 or 1), `next_return`
            (log), and for each baseline its call (0 or 1) under its name and its probability under
            `p_<name>`.
        scores: by metric name, `test/…`, `baseline/…`, `significance/…` and `backtest/…`.
        undefined: {metric: why} of the scores that are left out.
        confusion: 2 × 2 counts, rows by outcome (down, up), columns by call.
        folds: one row a fold: `first` and `last` test day, `days`, `hits`, `accuracy`, its interval
            `low`..`high`, and the accuracy of the `majority` baseline.
        seeds: (seeds,) accuracy of each seed alone over all folds.
        backtests: by style, `long_flat` and `long_short`.
        accounts: of long or flat: `frictionless`, traded at once and at no cost, an upper bound,
            and `next_open`, if there are opens and the backtests do not trade there anyway.
    """

    verdict: Verdict
    calls: pd.DataFrame
    scores: dict[str, float]
    undefined: dict[str, str]
    confusion: Array
    folds: pd.DataFrame
    seeds: Array
    backtests: dict[backtest.Style, Backtest]
    accounts: dict[str, Strategy]


@dataclass(frozen=True)
class Judged:
    """A verdict, and what it rests on.

    Attributes:
        verdict: whether the network has shown skill, and why.
        calls: one row a test day, as in `Evaluation`.
        baselines: their forecasts of the same days.
        tested: the calls as the tests take them.
        account: long or flat on the calls.
        timing: what the changes of its position earned.
    """

    verdict: Verdict
    calls: pd.DataFrame
    baselines: Baselines
    tested: Calls
    account: Backtest
    timing: Timing


def judge(
    windows: Windows,
    folds: Folds,
    logits: Array,
    settings: Settings,
    *,
    shrinkage: float,
    look: Look = FIRST_LOOK,
) -> Judged:
    """Return the verdict of `evaluate`, without the scores that do not decide it.

    It takes two fifths of the time: no bootstrap decides. Arguments and errors are those of
    `evaluate`.
    """
    seed_logits = _by_test_row(logits, folds)
    baselines = direction_baselines(
        windows.x, windows.y[:, 0, 0], windows.returns, folds, shrinkage
    )
    calls = _calls(windows, folds, seed_logits, baselines, shrinkage)
    tested = calls_to_test(calls, baselines)
    account = account_of(windows, folds, calls, "long_flat", settings)
    timing = backtest.timing(account.strategy, calls["next_return"].to_numpy())
    decision = verdict(
        network=showing(tested),
        baselines=baseline_showings(tested, baselines),
        days=len(calls),
        look=look,
        worth=worth(account, timing, settings),
    )
    return Judged(decision, calls, baselines, tested, account, timing)


def evaluate(
    windows: Windows,
    folds: Folds,
    logits: Array,
    settings: Settings,
    *,
    shrinkage: float,
    look: Look = FIRST_LOOK,
) -> Evaluation:
    """Score and judge the logits (K × seeds, s, 1, 1) of the test rows of K folds.

    Args:
        windows: N windows with their labels.
        folds: their row numbers; n of them are tested.
        logits: as `out_of_sample` returns them, NaN at padding and for frozen models.
        settings: cost and time of trading.
        shrinkage: how far the served probability is shrunk towards the training base rate.
        look: which question about these days this is.

    Raises:
        ConfigError: evaluation.trade is next_open and an opening price is missing.
    """
    judged = judge(windows, folds, logits, settings, shrinkage=shrinkage, look=look)
    calls = judged.calls
    baselines = judged.baselines
    probability = calls["probability"].to_numpy()
    confusion = confusion_matrix(calls["up"], called_up(probability), labels=[0, 1])
    backtests: dict[backtest.Style, Backtest] = {
        "long_flat": judged.account,
        "long_short": account_of(windows, folds, calls, "long_short", settings),
    }
    accounts = other_accounts(windows, folds, calls, settings)
    recorded = _together(
        significance_scores(judged.tested, baselines, look),
        _verdict_scores(judged.verdict),
        _test_scores(calls, confusion),
        _baseline_scores(calls, baselines),
        *(backtest_scores(style, result, look.number) for style, result in backtests.items()),
        timing_scores(judged.timing),
        *(account_scores(name, account) for name, account in accounts.items()),
    )
    return Evaluation(
        verdict=judged.verdict,
        calls=calls,
        scores=recorded.defined,
        undefined=recorded.undefined,
        confusion=confusion,
        folds=_by_fold(calls),
        seeds=_seed_accuracy(calls, _by_test_row(logits, folds)),
        backtests=backtests,
        accounts=accounts,
    )


def _together(*parts: Scores) -> Scores:
    whole = Scores({})
    for part in parts:
        whole.defined.update(part.defined)
        whole.undefined.update(part.undefined)
    return whole


def _by_test_row(logits: Array, folds: Folds) -> Array:
    """Return the logits (n, seeds) of the n tested rows, from logits (K × seeds, s, 1, 1)."""
    by_fold = logits[..., 0, 0].reshape(len(folds), -1, folds.test.shape[1])  # (K, seeds, s)
    return np.moveaxis(by_fold, 1, 2)[folds.test >= 0]


def _calls(
    windows: Windows, folds: Folds, seed_logits: Array, baselines: Baselines, shrinkage: float
) -> pd.DataFrame:
    tested = folds.test >= 0
    rows = folds.test[tested]
    fold = np.nonzero(tested)[0]
    base_rate = base_rates(windows, folds.train)[fold]
    probability, spread = ensemble(seed_logits, base_rate, shrinkage)
    return pd.DataFrame(
        {
            "fold": fold,
            "probability": probability,
            "spread": spread,
            "up": windows.y[rows, 0, 0].astype(int),
            "next_return": windows.next_returns[rows],
            **baselines.called,
            **{f"p_{name}": p for name, p in baselines.probability.items()},
        },
        index=windows.dates[rows].rename("date"),
    )


def _arrays(calls: pd.DataFrame) -> tuple[Array, Array, Array]:
    """Return the outcome, the probability of up and the call, each (n,)."""
    probability = calls["probability"].to_numpy()
    return calls["up"].to_numpy(), probability, called_up(probability).astype(int)


def _verdict_scores(judged: Verdict) -> Scores:
    """Return the verdict's inputs, except the log loss, which is a score of the test days."""
    inputs = {name: value for name, value in judged.inputs.items() if name != "log_loss"}
    return Scores({names.significance(name): value for name, value in inputs.items()})


def _test_scores(calls: pd.DataFrame, confusion: Array) -> Scores:
    up, probability, called = _arrays(calls)
    by_name = scores(up, probability) | calibration(up, probability)
    for outcome, row in zip(DIRECTIONS, confusion, strict=True):
        for call, count in zip(DIRECTIONS, row, strict=True):
            by_name[f"{outcome}_called_{call}"] = float(count)
    recorded = {names.score(name): value for name, value in by_name.items()}
    recorded[names.ZERO_RETURNS] = float((calls["next_return"] == 0).sum())
    low, high = wilson_interval(int((called == up).sum()), len(up))
    return Scores(recorded | {names.ACCURACY_LOW: low, names.ACCURACY_HIGH: high})


def _baseline_scores(calls: pd.DataFrame, baselines: Baselines) -> Scores:
    up, _, _ = _arrays(calls)
    accuracies = {
        names.baseline_accuracy(name): float((called == up).mean())
        for name, called in baselines.called.items()
    }
    losses = {
        names.baseline_log_loss(name): float(log_losses(up, p).mean())
        for name, p in baselines.probability.items()
    }
    return Scores(accuracies | losses)


def _by_fold(calls: pd.DataFrame) -> pd.DataFrame:
    hits = calls.assign(
        hit=called_up(calls["probability"]) == calls["up"],
        majority=calls["majority"] == calls["up"],
    )
    table = (
        hits.reset_index()
        .groupby("fold")
        .agg(
            first=("date", "first"),
            last=("date", "last"),
            days=("hit", "size"),
            hits=("hit", "sum"),
            accuracy=("hit", "mean"),
            majority=("majority", "mean"),
        )
    )
    return with_interval(table)


def _seed_accuracy(calls: pd.DataFrame, seed_logits: Array) -> Array:
    up = calls["up"].to_numpy()[:, None] == 1
    called = seed_logits > 0  # a probability above ½
    hits = np.where(np.isnan(seed_logits), np.nan, called == up)  # (n, seeds)
    return np.asarray(np.nanmean(hits, axis=0))

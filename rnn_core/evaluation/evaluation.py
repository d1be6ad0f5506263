"""Score and judge the out-of-sample calls of all folds, next to baselines on the same folds."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from rnn_core.config import Evaluation as Settings
from rnn_core.data.windows import Windows
from rnn_core.errors import ConfigError
from rnn_core.evaluation import backtest, names, significance
from rnn_core.evaluation.backtest import Backtest
from rnn_core.evaluation.baselines import Baselines, ByName, direction_baselines
from rnn_core.evaluation.metrics import (
    calibration,
    called_up,
    log_losses,
    scores,
    wilson_interval,
    with_interval,
)
from rnn_core.evaluation.verdict import Verdict, verdict
from rnn_core.nn.arrays import Array
from rnn_core.nn.ensemble import ensemble
from rnn_core.nn.sequences import Folds, base_rates

STYLES: tuple[backtest.Style, ...] = ("long_flat", "long_short")
DIRECTIONS = ("down", "up")

Tests: TypeAlias = dict[str, significance.Test | significance.Bootstrap | None]
"""Tests by metric name, None where undefined."""


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
    """

    verdict: Verdict
    calls: pd.DataFrame
    scores: dict[str, float]
    undefined: dict[str, str]
    confusion: Array
    folds: pd.DataFrame
    seeds: Array
    backtests: dict[backtest.Style, Backtest]


@dataclass(frozen=True)
class _Scores:
    """Scores by metric name, and why others are undefined."""

    defined: dict[str, float]
    undefined: dict[str, str] = field(default_factory=dict)


def evaluate(
    windows: Windows,
    folds: Folds,
    logits: Array,
    settings: Settings,
    *,
    shrinkage: float,
    trials: int = 1,
) -> Evaluation:
    """Score and judge the logits (K × seeds, s, 1, 1) of the test rows of K folds.

    Args:
        windows: N windows with their labels.
        folds: their row numbers; n of them are tested.
        logits: as `out_of_sample` returns them, NaN at padding and for frozen models.
        settings: cost and time of trading.
        shrinkage: how far the served probability is shrunk towards the training base rate.
        trials: how many distinct configurations were tried on these days, this one included.

    Raises:
        ConfigError: evaluation.trade is next_open and an opening price is missing.
    """
    seed_logits = _by_test_row(logits, folds)
    baselines = direction_baselines(
        windows.x, windows.y[:, 0, 0], windows.returns, folds.train, folds.test
    )
    calls = _calls(windows, folds, seed_logits, baselines, shrinkage)
    confusion = confusion_matrix(calls["up"], called_up(calls["probability"]), labels=[0, 1])
    tests = _significance(calls, baselines)
    judged = _judge(calls, baselines, tests, trials)
    backtests = {style: _backtest(windows, folds, calls, style, settings) for style in STYLES}
    recorded = _together(
        tests,
        _verdict_scores(judged),
        _test_scores(calls, confusion),
        _baseline_scores(calls, baselines),
        *(_backtest_scores(style, result, trials) for style, result in backtests.items()),
    )
    return Evaluation(
        verdict=judged,
        calls=calls,
        scores=recorded.defined,
        undefined=recorded.undefined,
        confusion=confusion,
        folds=_by_fold(calls),
        seeds=_seed_accuracy(calls, seed_logits),
        backtests=backtests,
    )


def _together(*parts: _Scores) -> _Scores:
    whole = _Scores({})
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


def _baseline_losses(up: Array, baselines: Baselines) -> ByName:
    return {name: log_losses(up, p) for name, p in baselines.probability.items()}


def _judge(calls: pd.DataFrame, baselines: Baselines, tests: _Scores, trials: int) -> Verdict:
    up, probability, _ = _arrays(calls)
    losses = _baseline_losses(up, baselines)
    return verdict(
        pvalue=tests.defined.get(names.PT_PVALUE),
        trials=trials,
        days=len(calls),
        log_loss=float(log_losses(up, probability).mean()),
        baselines={name: float(loss.mean()) for name, loss in losses.items()},
        skilled=_skilled(up, baselines),
    )


def _skilled(up: Array, baselines: Baselines) -> list[str]:
    """Return the baselines whose own calls pass the test of direction."""
    tests = {
        name: significance.pesaran_timmermann(up, called)
        for name, called in baselines.called.items()
    }
    return [
        name
        for name, test in tests.items()
        if test is not None and test.pvalue <= significance.ALPHA
    ]


def _verdict_scores(judged: Verdict) -> _Scores:
    """Return the verdict's inputs, except the log loss, which is a score of the test days."""
    inputs = {name: value for name, value in judged.inputs.items() if name != "log_loss"}
    return _Scores({names.significance(name): value for name, value in inputs.items()})


def _test_scores(calls: pd.DataFrame, confusion: Array) -> _Scores:
    up, probability, called = _arrays(calls)
    by_name = scores(up, probability) | calibration(up, probability)
    for outcome, row in zip(DIRECTIONS, confusion, strict=True):
        for call, count in zip(DIRECTIONS, row, strict=True):
            by_name[f"{outcome}_called_{call}"] = float(count)
    recorded = {names.score(name): value for name, value in by_name.items()}
    low, high = wilson_interval(int((called == up).sum()), len(up))
    return _Scores(recorded | {names.ACCURACY_LOW: low, names.ACCURACY_HIGH: high})


def _baseline_scores(calls: pd.DataFrame, baselines: Baselines) -> _Scores:
    up, _, _ = _arrays(calls)
    accuracies = {
        names.baseline_accuracy(name): float((called == up).mean())
        for name, called in baselines.called.items()
    }
    losses = {
        names.baseline_log_loss(name): float(loss.mean())
        for name, loss in _baseline_losses(up, baselines).items()
    }
    return _Scores(accuracies | losses)


def _significance(calls: pd.DataFrame, baselines: Baselines) -> _Scores:
    """Return the p-values of all tests, and the days that would show this accuracy."""
    tests = _direction_tests(calls) | _loss_tests(calls, baselines)
    pvalues = {name: test.pvalue for name, test in tests.items() if test is not None}
    constant = "what it compares does not vary: constant calls, one class only, or equal losses"
    undefined = {name: constant for name, test in tests.items() if test is None}
    up, _, called = _arrays(calls)
    days = significance.days_needed(float((called == up).mean()))
    if days is not None:
        return _Scores(pvalues | {names.DAYS_FOR_THIS_ACCURACY: days}, undefined)
    never = "an accuracy of a half or less is never shown to be above it"
    return _Scores(pvalues, undefined | {names.DAYS_FOR_THIS_ACCURACY: never})


def _direction_tests(calls: pd.DataFrame) -> Tests:
    up, _, called = _arrays(calls)
    next_return = calls["next_return"].to_numpy()
    excess = significance.excess_hits(up, called)
    return {
        names.PT_PVALUE: significance.pesaran_timmermann(up, called),
        names.pvalue("ag"): significance.anatolyev_gerko(next_return, called),
        names.pvalue("pt_bootstrap"): significance.bootstrap_mean(excess),
    }


def _loss_tests(calls: pd.DataFrame, baselines: Baselines) -> Tests:
    up, probability, _ = _arrays(calls)
    loss = log_losses(up, probability)
    others = _baseline_losses(up, baselines)
    against = {
        name: significance.diebold_mariano(loss, other_loss) for name, other_loss in others.items()
    }
    return {
        names.pvalue("dm"): against["majority"],
        names.pvalue("dm_bootstrap"): significance.bootstrap_mean(others["majority"] - loss),
        **{names.dm_pvalue(name): test for name, test in against.items()},
    }


def _backtest(
    windows: Windows, folds: Folds, calls: pd.DataFrame, style: backtest.Style, settings: Settings
) -> Backtest:
    rows = folds.test[folds.test >= 0]
    weights = backtest.positions(calls["probability"].to_numpy(), style)
    overnight = _overnight(windows, rows) if settings.trade == "next_open" else None
    return backtest.backtest(
        weights,
        windows.next_returns[rows],
        settings.cost,
        overnight,
        sessions_a_year=windows.sessions_a_year,
    )


def _overnight(windows: Windows, rows: Array) -> Array:
    overnight = None if windows.overnight is None else windows.overnight[rows]
    if overnight is None or not np.isfinite(overnight).all():
        raise ConfigError(
            "evaluation.trade=next_open requires an opening price on every test day; use next_close"
        )
    return overnight


def _backtest_scores(style: str, result: Backtest, trials: int) -> _Scores:
    strategy = result.strategy
    defined = {names.backtest(name, style): x for name, x in strategy.statistics.items()}
    undefined = {names.backtest(name, style): why for name, why in strategy.undefined.items()}
    ratio = strategy.sharpe
    if ratio is not None:
        deflated = significance.deflated_sharpe(
            ratio.daily, ratio.days, trials, ratio.skew, ratio.kurtosis
        )
        if deflated is not None:
            defined[names.backtest("deflated_sharpe", style)] = deflated
    if style == "long_flat":
        hold = result.buy_and_hold
        defined |= {names.hold(name): x for name, x in hold.statistics.items()}
        undefined |= {names.hold(name): why for name, why in hold.undefined.items()}
    return _Scores(defined, undefined)


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

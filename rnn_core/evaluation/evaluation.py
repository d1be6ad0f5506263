"""The out-of-sample calls of every fold, scored once, beside the baselines through the same folds, and judged."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from rnn_core.config import Evaluation as Settings
from rnn_core.data.windows import Windows
from rnn_core.errors import ConfigError
from rnn_core.evaluation import backtest, significance
from rnn_core.evaluation.backtest import Backtest
from rnn_core.evaluation.baselines import Baselines, direction_baselines
from rnn_core.evaluation.metrics import calibration, log_losses, scores, wilson_interval, with_interval
from rnn_core.evaluation.significance import Verdict
from rnn_core.nn.arrays import Array
from rnn_core.nn.ensemble import ensemble
from rnn_core.nn.sequences import Folds, base_rates

STYLES: tuple[backtest.Style, ...] = ("long_flat", "long_short")


@dataclass(frozen=True)
class Evaluation:
    """What was forecast on the test days, what happened, and what may be said of it.

    Attributes:
        verdict: whether the network has shown skill, and why.
        calls: one row a test day, by the date of the call: `fold`, `probability` that the next session closes up,
            `spread` over the seeds, `up` (0 or 1: what happened), `next_return` (log), and for each baseline its call
            (0 or 1) under its name and its probability under `p_<name>`.
        scores: by metric name, `test/…`, `baseline/…`, `significance/…` and `backtest/…`.
        undefined: {metric: why} of the scores that were left out.
        confusion: 2 × 2 counts, rows what happened (down, up), columns what was called.
        folds: one row a fold: `first` and `last` test day, `days`, `hits`, `accuracy`, its interval `low`..`high`,
            and the `majority` baseline's accuracy.
        seeds: (seeds,) accuracy of each seed by itself over all folds.
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


def evaluate(
    windows: Windows, folds: Folds, logits: Array, settings: Settings, *, shrinkage: float, trials: int = 1
) -> Evaluation:
    """Score and judge the logits (K × seeds, s, 1, 1) of the test rows of K folds.

    `shrinkage` is that of the served probability; `trials` counts the distinct configurations that were tried on these
    days, this one among them.

    Raises:
        ConfigError: the backtest is to trade at the next open, and opens are missing.
    """
    tested = folds.test >= 0
    rows, fold = folds.test[tested], np.nonzero(tested)[0]
    by_seed = np.moveaxis(logits[..., 0, 0].reshape(len(folds), -1, folds.test.shape[1]), 1, 2)[tested]  # (n, seeds)
    probability, spread = ensemble(by_seed, base_rates(windows, folds.train)[fold], shrinkage)
    baselines = direction_baselines(windows.x, windows.y[:, 0, 0], windows.returns, folds.train, folds.test)
    calls = pd.DataFrame(
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
    up, called = calls["up"].to_numpy(), (probability > 0.5).astype(int)
    found, undefined = _significance(calls, baselines)
    verdict = significance.verdict(
        found.get("significance/pt_pvalue"),
        trials,
        len(calls),
        float(log_losses(up, probability).mean()),
        {name: float(log_losses(up, p).mean()) for name, p in baselines.probability.items()},
        _skilled(up, baselines),
    )
    backtests = {style: _backtest(windows, rows, probability, style, settings) for style in STYLES}
    found |= {f"significance/{name}": value for name, value in verdict.inputs.items() if name != "log_loss"}
    confusion = confusion_matrix(up, called, labels=[0, 1])
    found |= _test_scores(up, probability, confusion) | _baseline_scores(up, baselines)
    for style, result in backtests.items():
        own, missing = _backtest_scores(style, result, trials)
        found |= own
        undefined |= missing
    own_calls = np.where(np.isnan(by_seed), np.nan, (by_seed > 0) == (up == 1)[:, None])
    return Evaluation(
        verdict=verdict,
        calls=calls,
        scores=found,
        undefined=undefined,
        confusion=confusion,
        folds=_by_fold(calls),
        seeds=np.nanmean(own_calls, axis=0),
        backtests=backtests,
    )


def _test_scores(up: Array, probability: Array, confusion: Array) -> dict[str, float]:
    found = scores(up, probability) | calibration(up, probability)
    for happened, counts in zip(("down", "up"), confusion, strict=True):
        found |= {f"{happened}_called_{call}": float(count) for call, count in zip(("down", "up"), counts, strict=True)}
    hits = int(((probability > 0.5) == up).sum())
    found["accuracy_low"], found["accuracy_high"] = wilson_interval(hits, len(up))
    return {f"test/{name}": value for name, value in found.items()}


def _baseline_scores(up: Array, baselines: Baselines) -> dict[str, float]:
    accuracy = {f"baseline/{name}_accuracy": float((called == up).mean()) for name, called in baselines.called.items()}
    losses = {f"baseline/{name}_log_loss": log_losses(up, p).mean() for name, p in baselines.probability.items()}
    return accuracy | {name: float(loss) for name, loss in losses.items()}


def _skilled(up: Array, baselines: Baselines) -> list[str]:
    """The baselines whose own calls agree with what happened more than independent ones would."""
    tests = {name: significance.pesaran_timmermann(up, called) for name, called in baselines.called.items()}
    return [name for name, test in tests.items() if test is not None and test.pvalue <= significance.ALPHA]


def _significance(calls: pd.DataFrame, baselines: Baselines) -> tuple[dict[str, float], dict[str, str]]:
    """The tests by metric name, and why those that are left out are undefined."""
    up, probability = calls["up"].to_numpy(), calls["probability"].to_numpy()
    called = (probability > 0.5).astype(int)
    loss = log_losses(up, probability)
    worse = {name: log_losses(up, p) for name, p in baselines.probability.items()}
    against = {name: significance.diebold_mariano(loss, other) for name, other in worse.items()}
    tests = {
        "pt": significance.pesaran_timmermann(up, called),
        "ag": significance.anatolyev_gerko(calls["next_return"].to_numpy(), called),
        "pt_bootstrap": significance.bootstrap_mean(significance.excess_hits(up, called)),
        "dm": against["majority"],
        "dm_bootstrap": significance.bootstrap_mean(worse["majority"] - loss),
        **{f"dm_{name}": test for name, test in against.items()},
    }
    pvalues = {f"significance/{name}_pvalue": None if test is None else test.pvalue for name, test in tests.items()}
    why = "what it compares does not vary: constant calls, one class only, or equal losses"
    days = significance.days_needed(float((called == up).mean()))
    found = {name: value for name, value in pvalues.items() if value is not None}
    undefined = {name: why for name, value in pvalues.items() if value is None}
    if days is None:
        undefined["significance/days_for_this_accuracy"] = "an accuracy of a half or less is never shown to be above it"
    else:
        found["significance/days_for_this_accuracy"] = days
    return found, undefined


def _backtest(windows: Windows, rows: Array, probability: Array, style: backtest.Style, settings: Settings) -> Backtest:
    overnight = None
    if settings.trade == "next_open":
        if windows.overnight is None or not np.isfinite(windows.overnight[rows]).all():
            raise ConfigError("evaluation.trade is next_open and opening prices are missing; use next_close")
        overnight = windows.overnight[rows]
    weights = backtest.positions(probability, style)
    return backtest.backtest(weights, windows.next_returns[rows], settings.cost, overnight)


def _backtest_scores(style: str, result: Backtest, trials: int) -> tuple[dict[str, float], dict[str, str]]:
    """`backtest/…`; the plain names are long/flat's, and the names of the others begin with the style."""
    prefix = "backtest/" if style == "long_flat" else f"backtest/{style}_"
    strategy = result.strategy
    found = {f"{prefix}{name}": value for name, value in strategy.statistics.items()}
    undefined = {f"{prefix}{name}": why for name, why in strategy.undefined.items()}
    if strategy.sharpe is not None:
        ratio = strategy.sharpe
        deflated = significance.deflated_sharpe(ratio.daily, ratio.days, trials, ratio.skew, ratio.kurtosis)
        if deflated is not None:
            found[f"{prefix}deflated_sharpe"] = deflated
    if style == "long_flat":
        found |= {f"backtest/hold_{name}": value for name, value in result.buy_and_hold.statistics.items()}
    return found, undefined


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

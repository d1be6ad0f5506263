"""Trade the out-of-sample calls: the accounts of a run, and their scores."""

import numpy as np
import pandas as pd

from rnn_core.config import Evaluation as Settings
from rnn_core.data.windows import Windows
from rnn_core.errors import ConfigError
from rnn_core.evaluation import backtest, names, significance
from rnn_core.evaluation.backtest import Backtest, Strategy, Timing
from rnn_core.evaluation.evidence import Scores
from rnn_core.evaluation.verdict import Worth
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Folds


def worth(result: Backtest, timing: Timing, settings: Settings) -> Worth:
    """Return what the calls are worth in money, for the verdict."""
    return Worth(
        cost=settings.cost,
        break_even=result.strategy.statistics.get("break_even_cost"),
        timing_pvalue=None if timing.test is None else timing.test.pvalue,
    )


def account_of(
    windows: Windows, folds: Folds, calls: pd.DataFrame, style: backtest.Style, settings: Settings
) -> Backtest:
    """Trade the calls in one style, at the cost and time of the settings.

    Raises:
        ConfigError: they trade at the next open and an opening price is missing.
    """
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
    overnight = _opens(windows, rows)
    if overnight is None:
        raise ConfigError(
            "evaluation.trade=next_open requires an opening price on every test day; use next_close"
        )
    return overnight


def _opens(windows: Windows, rows: Array) -> Array | None:
    """Return the returns up to the next opens (n,), or None if an open is missing."""
    overnight = None if windows.overnight is None else windows.overnight[rows]
    return None if overnight is None or not np.isfinite(overnight).all() else overnight


def other_accounts(
    windows: Windows, folds: Folds, calls: pd.DataFrame, settings: Settings
) -> dict[str, Strategy]:
    """Return the accounts of long or flat beside the backtest, by name.

    They are `frictionless`, traded at once and at no cost, an upper bound, and `next_open`, if
    there are opens and the backtest does not trade there anyway.
    """
    next_return = calls["next_return"].to_numpy()
    weights = backtest.positions(calls["probability"].to_numpy(), "long_flat")
    year = windows.sessions_a_year
    accounts = {
        names.FRICTIONLESS: backtest.frictionless(weights, next_return, sessions_a_year=year)
    }
    overnight = _opens(windows, folds.test[folds.test >= 0])
    if overnight is not None and settings.trade != "next_open":
        at_open = backtest.backtest(
            weights, next_return, settings.cost, overnight, sessions_a_year=year
        )
        accounts[names.NEXT_OPEN] = at_open.strategy
    return accounts


def account_scores(name: str, account: Strategy) -> Scores:
    """Return the statistics of an account by metric name."""
    return Scores(
        {names.backtest(statistic, name): x for statistic, x in account.statistics.items()},
        {names.backtest(statistic, name): why for statistic, why in account.undefined.items()},
    )


def timing_scores(timing: Timing) -> Scores:
    """Return the gain over a constant position of the same mean size, and its t."""
    gain = {names.TIMING_GAIN: timing.gain}
    if timing.test is None:
        return Scores(gain, {names.TIMING_T: "the position does not vary, or on few days"})
    return Scores(gain | {names.TIMING_T: timing.test.statistic})


def backtest_scores(style: str, result: Backtest, trials: int) -> Scores:
    """Return the scores of a style: its account, the deflated Sharpe ratio, and buy and hold."""
    account = account_scores(style, result.strategy)
    defined = account.defined
    undefined = account.undefined
    ratio = result.strategy.sharpe
    held = result.buy_and_hold.sharpe
    if ratio is not None and held is not None:
        deflated = significance.deflated_sharpe(
            ratio.daily, ratio.days, trials, ratio.skew, ratio.kurtosis, benchmark=held.daily
        )
        if deflated is not None:
            defined[names.backtest("deflated_sharpe_probability", style)] = deflated
    if style == "long_flat":
        held_statistics = result.buy_and_hold.statistics.items()
        # Who buys once breaks even at any cost or at none
        defined |= {names.hold(name): x for name, x in held_statistics if name != "break_even_cost"}
        held_undefined = result.buy_and_hold.undefined.items()
        undefined |= {names.hold(name): why for name, why in held_undefined}
    return Scores(defined, undefined)

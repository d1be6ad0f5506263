"""The calls of all folds, scored once, beside the baselines, and judged."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rnn_core.config import Evaluation as Settings
from rnn_core.data.folds import folds
from rnn_core.data.windows import Windows
from rnn_core.errors import ConfigError
from rnn_core.evaluation import backtest, significance
from rnn_core.evaluation.direction_tests import strata, within_strata
from rnn_core.evaluation.evaluation import Evaluation, evaluate, judge
from rnn_core.evaluation.significance import deflated_sharpe
from rnn_core.evaluation.spending import nth_look
from rnn_core.nn.sequences import Folds

DAYS, SEEDS, SHRINKAGE = 120, 3, 0.25
SETTINGS = Settings(train_days=40, valid_days=10, test_days=12)


@pytest.fixture(scope="module")
def built() -> Windows:
    rng = np.random.default_rng(2)
    returns = rng.normal(0, 0.01, DAYS)
    next_returns = np.append(returns[1:], np.nan)
    known = np.isfinite(next_returns)
    y = np.where(known, next_returns > 0, np.nan)[:, None, None]
    dates = pd.bdate_range("2020-01-01", periods=DAYS)
    series = {
        "dates": dates,
        "returns": returns,
        "next_returns": next_returns,
        "features": ("return",),
        "sessions_a_year": 252,
    }
    return Windows(returns[:, None, None], y, known[:, None], **series)


@pytest.fixture(scope="module")
def walk(built: Windows) -> Folds:
    return folds(SETTINGS, built)


@pytest.fixture(scope="module")
def logits(walk: Folds) -> np.ndarray:
    drawn = np.random.default_rng(3).normal(size=(len(walk) * SEEDS, walk.test.shape[1], 1, 1))
    return np.where((walk.test.repeat(SEEDS, axis=0) >= 0)[..., None, None], drawn, np.nan)


@pytest.fixture(scope="module")
def found(built: Windows, walk: Folds, logits: np.ndarray) -> Evaluation:
    return evaluate(built, walk, logits, SETTINGS, shrinkage=SHRINKAGE, look=nth_look(4))


def test_every_test_day_is_called_once_with_the_ensembles_mean_drawn_to_the_base_rate(
    found: Evaluation, built: Windows, walk: Folds, logits: np.ndarray
) -> None:
    assert found.calls.index.equals(built.dates[52:-1])
    for fold in range(len(walk) - 1):
        each = 1 / (1 + np.exp(-logits[fold * SEEDS : (fold + 1) * SEEDS, :, 0, 0]))
        base = (built.returns[walk.train[fold] + 1] > 0).mean()
        mine = found.calls[found.calls["fold"] == fold]
        served = (1 - SHRINKAGE) * each.mean(axis=0) + SHRINKAGE * base
        np.testing.assert_allclose(mine["probability"], served[: len(mine)], rtol=1e-12)
        np.testing.assert_allclose(mine["spread"], each.std(axis=0)[: len(mine)], rtol=1e-12)


def test_the_verdict_alone_is_the_same_and_needs_no_bootstrap(
    found: Evaluation,
    built: Windows,
    walk: Folds,
    logits: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for bootstrap in ("bootstrap_mean", "superior"):
        monkeypatch.delattr(significance, bootstrap)
    judged = judge(built, walk, logits, SETTINGS, shrinkage=SHRINKAGE, look=nth_look(4))
    assert judged.verdict == found.verdict
    pd.testing.assert_frame_equal(judged.calls, found.calls)


def test_what_happened_is_the_next_return(found: Evaluation, built: Windows) -> None:
    np.testing.assert_array_equal(found.calls["next_return"], built.returns[53:])
    np.testing.assert_array_equal(found.calls["up"], built.returns[53:] > 0)


def test_baselines_are_called_from_what_their_fold_knew(
    found: Evaluation, built: Windows, walk: Folds
) -> None:
    for fold, rows in enumerate(walk.train[:-1]):
        base = (built.returns[rows + 1] > 0).mean()
        mine = found.calls[found.calls["fold"] == fold]
        assert set(mine["majority"]) == {int(base >= 0.5)}
        np.testing.assert_allclose(mine["p_majority"], base)
    np.testing.assert_array_equal(found.calls["reversal"], built.returns[52:-1] <= 0)
    np.testing.assert_array_equal(found.calls["persistence"], built.returns[52:-1] > 0)
    for name in ("majority", "reversal", "persistence", "logistic", "boosting"):
        hit = found.calls[name] == found.calls["up"]
        assert found.scores[f"baseline/{name}_accuracy"] == pytest.approx(hit.mean())
        p = np.where(found.calls["up"] == 1, found.calls[f"p_{name}"], 1 - found.calls[f"p_{name}"])
        assert found.scores[f"baseline/{name}_log_loss"] == pytest.approx(-np.log(p).mean())


def test_the_confusion_and_the_folds_add_up_to_the_accuracy(found: Evaluation) -> None:
    accuracy = found.scores["test/accuracy"]
    assert found.scores["test/accuracy_low"] < accuracy < found.scores["test/accuracy_high"]
    assert found.scores["test/up_called_down"] == found.confusion[1, 0]
    assert np.trace(found.confusion) / found.confusion.sum() == pytest.approx(accuracy)
    assert found.confusion[1].sum() == found.calls["up"].sum()
    assert found.folds["hits"].sum() / found.folds["days"].sum() == pytest.approx(accuracy)
    assert found.folds["days"].tolist() == [12] * 5 + [7]
    assert found.folds["first"].iloc[0] == found.calls.index[0]
    assert found.folds["last"].iloc[-1] == found.calls.index[-1]


def test_each_seed_is_scored_by_itself(found: Evaluation, walk: Folds, logits: np.ndarray) -> None:
    called = [logits[seed::SEEDS, :, 0, 0][walk.test >= 0] > 0 for seed in range(SEEDS)]
    np.testing.assert_allclose(
        found.seeds, [(mine == (found.calls["up"] == 1)).mean() for mine in called]
    )


def test_the_verdict_is_of_the_served_probability_and_of_the_look(found: Evaluation) -> None:
    assert found.verdict.tag == "inconclusive"
    assert found.scores["significance/days"] == len(found.calls) == 67
    assert found.scores["significance/trials"] == 4
    for test in ("pt", "conditional"):
        p = found.scores[f"significance/{test}_pvalue"]
        adjusted = found.scores[f"significance/{test}_pvalue_adjusted"]
        assert adjusted == min(1, p * 0.05 / nth_look(4).level)
    assert found.verdict.headline.startswith("inconclusive")
    assert 0.5 < found.scores["significance/detectable_accuracy"] < 1


def test_the_test_that_decides_is_within_strata_of_folds(found: Evaluation) -> None:
    calls = found.calls
    stratum = strata(calls["fold"].to_numpy(), 63)
    test = within_strata(calls["up"].to_numpy(), calls["probability"].to_numpy(), stratum)
    assert test is not None
    assert found.scores["significance/conditional_pvalue"] == test.pvalue


def test_baselines_are_shrunk_as_the_network_is(built: Windows, walk: Folds) -> None:
    logits = np.ones((len(walk), walk.test.shape[1], 1, 1))
    whole = evaluate(built, walk, logits, SETTINGS, shrinkage=0.0).calls
    half = evaluate(built, walk, logits, SETTINGS, shrinkage=0.5).calls
    for name in ("persistence", "reversal", "logistic", "boosting"):
        middle = (whole[f"p_{name}"] + whole["p_majority"]) / 2
        np.testing.assert_allclose(half[f"p_{name}"], middle, rtol=1e-12)


def test_returns_of_zero_are_counted(walk: Folds, built: Windows, logits: np.ndarray) -> None:
    next_returns = built.next_returns.copy()
    next_returns[[60, 80]] = 0
    assert (
        evaluate(
            replace(built, next_returns=next_returns), walk, logits, SETTINGS, shrinkage=0.5
        ).scores["test/zero_returns"]
        == 2
    )


def test_the_other_accounts_are_the_upper_bound_and_that_of_the_next_open(
    built: Windows, walk: Folds, logits: np.ndarray
) -> None:
    opens = replace(built, overnight=built.next_returns / 3)
    with_opens = evaluate(opens, walk, logits, SETTINGS, shrinkage=SHRINKAGE)
    calls = with_opens.calls
    long = (calls["probability"] > 0.5).to_numpy()
    free = with_opens.accounts["frictionless"]
    earned = np.where(long, np.expm1(calls["next_return"]), 0)
    np.testing.assert_allclose(free.net, earned, atol=1e-12)
    assert with_opens.scores["backtest/frictionless_sharpe_net"] == free.statistics["sharpe_net"]
    at_open = SETTINGS.model_copy(update={"trade": "next_open"})
    traded = evaluate(opens, walk, logits, at_open, shrinkage=SHRINKAGE)
    np.testing.assert_array_equal(
        with_opens.accounts["next_open"].net, traded.backtests["long_flat"].strategy.net
    )
    assert traded.accounts.keys() == {"frictionless"}, "the default account trades there already"
    assert evaluate(built, walk, logits, SETTINGS, shrinkage=SHRINKAGE).accounts.keys() == {
        "frictionless"
    }


def test_timing_and_the_deflated_ratio_are_measured_against_what_holding_earns(
    found: Evaluation,
) -> None:
    result = found.backtests["long_flat"]
    timing = backtest.timing(result.strategy, found.calls["next_return"].to_numpy())
    assert timing.test is not None
    assert found.scores["backtest/timing_gain"] == timing.gain
    assert found.scores["backtest/timing_t"] == timing.test.statistic
    ratio = result.strategy.sharpe
    held = result.buy_and_hold.sharpe
    assert ratio is not None
    assert held is not None
    assert found.scores["backtest/deflated_sharpe_probability"] == deflated_sharpe(
        ratio.daily, ratio.days, 4, ratio.skew, ratio.kurtosis, benchmark=held.daily
    )


def test_the_backtest_holds_what_was_called_one_day_later_and_pays_for_it(
    found: Evaluation,
) -> None:
    result = found.backtests["long_short"].strategy
    side = np.sign(found.calls["probability"].to_numpy() - 0.5)
    np.testing.assert_array_equal(result.weight[1:], side[:-1])
    assert result.weight[0] == 0
    assert found.scores["backtest/long_short_total_return"] == pytest.approx(result.equity[-1] - 1)
    assert found.scores["backtest/total_return"] == pytest.approx(
        found.backtests["long_flat"].strategy.equity[-1] - 1
    )


def test_an_oracle_has_skill_and_constant_calls_have_none_and_no_metric_is_nan(
    built: Windows, walk: Folds, logits: np.ndarray
) -> None:
    rows = walk.test.repeat(SEEDS, axis=0)
    knowing = np.where(built.y[rows, 0] > 0.5, 3.0, -3.0)[..., None]
    always = np.ones_like(knowing)
    oracle = evaluate(built, walk, knowing, SETTINGS, shrinkage=0.5)
    constant = evaluate(built, walk, always, SETTINGS, shrinkage=0.5)
    assert oracle.verdict.tag == "skill"
    assert oracle.scores["test/accuracy"] == 1
    assert constant.verdict.tag == "inconclusive"
    assert oracle.verdict.headline.startswith("skill")
    assert "significance/pt_pvalue" not in constant.scores
    assert "does not vary" in constant.undefined["significance/pt_pvalue"]
    for evaluation in (oracle, constant):
        assert all(np.isfinite(value) for value in evaluation.scores.values())


def test_a_test_period_with_one_class_is_scored_as_far_as_it_can_be(
    walk: Folds, logits: np.ndarray
) -> None:
    returns = np.full(DAYS, 0.01)
    returns[:50:2] = -0.01
    next_returns = np.append(returns[1:], np.nan)
    y = np.where(np.isfinite(next_returns), next_returns > 0, np.nan)[:, None, None]
    dates = pd.bdate_range("2020-01-01", periods=DAYS)
    series = {
        "dates": dates,
        "returns": returns,
        "next_returns": next_returns,
        "features": ("return",),
        "sessions_a_year": 252,
    }
    rising = Windows(returns[:, None, None], y, np.isfinite(y[..., 0]), **series)
    found = evaluate(rising, walk, logits, SETTINGS, shrinkage=0.5)
    assert found.calls["up"].all()
    assert "test/auc" not in found.scores
    assert found.verdict.tag == "inconclusive"
    assert all(np.isfinite(value) for value in found.scores.values())


def test_trading_at_the_open_needs_opens(built: Windows, walk: Folds, logits: np.ndarray) -> None:
    at_open = SETTINGS.model_copy(update={"trade": "next_open"})
    with pytest.raises(ConfigError, match=r"evaluation\.trade=next_open requires an opening price"):
        evaluate(built, walk, logits, at_open, shrinkage=0.5)


def test_the_backtest_counts_the_sessions_of_the_market(
    built: Windows, walk: Folds, logits: np.ndarray
) -> None:
    crypto = replace(built, sessions_a_year=365)
    shares, coins = (evaluate(w, walk, logits, SETTINGS, shrinkage=0.5) for w in (built, crypto))
    for name in ("backtest/sharpe_net", "backtest/hold_sharpe_net"):
        assert coins.scores[name] / shares.scores[name] == pytest.approx(np.sqrt(365 / 252))
    assert coins.scores["backtest/turnover"] / shares.scores["backtest/turnover"] == (
        pytest.approx(365 / 252)
    )


def test_buy_and_hold_of_a_steady_price_says_why_it_has_no_sharpe_ratio(
    built: Windows, walk: Folds, logits: np.ndarray
) -> None:
    steady = replace(built, next_returns=np.full(DAYS, 1e-4))
    found = evaluate(steady, walk, logits, SETTINGS, shrinkage=0.5)
    assert "backtest/hold_sharpe_net" not in found.scores
    assert found.undefined["backtest/hold_sharpe_net"].endswith("days do not vary")

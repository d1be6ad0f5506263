"""The gate, condition by condition."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from statsmodels.tsa.stattools import diebold_mariano_test

from rnn_core.config import Promotion
from rnn_core.evaluation.metrics import log_losses
from rnn_core.operations.promotion import Candidate, Judgement, judge

DAYS = pd.bdate_range("2015-01-02", periods=1200)
RNG = np.random.default_rng(0)
MARGIN = Promotion().margin
WAY_OUT = (
    " (if version 3 should not be the champion, remove its alias champion in MLflow and retrain)"
)


def calls(
    gain: float = 0.0, noise: float = 0.02, seed: int = 0, days: pd.DatetimeIndex = DAYS
) -> pd.DataFrame:
    """Calls whose mean log loss is about `gain` nats above that of others, on the same returns."""
    returns = pd.Series(np.random.default_rng(99).normal(0, 0.01, len(DAYS)), DAYS)[days]
    up = (returns > 0).astype(int)
    loss = 0.69 + gain + noise * np.random.default_rng(seed).normal(size=len(days))
    hit = np.exp(-np.maximum(loss, 1e-3))  # the probability of what happened
    table = {"probability": np.where(up == 1, hit, 1 - hit), "up": up, "next_return": returns}
    return pd.DataFrame(table, days)


CHAMPION = Candidate(
    version=3,
    run_id="r3",
    config_hash="same",
    exchange="XNYS",
    data_source="yahoo",
    data_sha256="old",
    data_last=date(2021, 6, 1),
    verdict="no evidence of skill",
    scores={},
    calls=calls,
)
NEWER = replace(CHAMPION, version=4, run_id="r4", data_sha256="new", data_last=date(2021, 6, 2))


def judged(
    challenger: Candidate,
    champion: Candidate | None = CHAMPION,
    *,
    unusable: int = 0,
    served: bool = True,
    earlier: Sequence[Candidate] = (),
    deleted: int = 0,
    **set_: bool,
) -> Judgement:
    return judge(
        Promotion(**set_),
        challenger,
        champion,
        earlier,
        deleted=deleted,
        unusable=unusable,
        served=served,
    )


def other(table: pd.DataFrame, version: int = 4) -> Candidate:
    return replace(NEWER, version=version, config_hash=f"other {version}", calls=lambda: table)


def test_the_first_real_model_becomes_champion() -> None:
    assert judged(NEWER, None).promoted


def test_the_same_configuration_on_newer_data_is_promoted_without_a_comparison() -> None:
    judgement = judged(NEWER)
    assert judgement.promoted
    assert judgement.reason.endswith("same configuration as version 3")
    assert judgement.figures == {}


@pytest.mark.parametrize(
    ("challenger", "options", "reason"),
    [
        (replace(NEWER, data_source="synthetic"), {}, "prices are synthetic"),
        (
            replace(NEWER, data_source="synthetic-fallback"),
            {"allow_synthetic": True},
            "prices are synthetic-fallback",
        ),
        (NEWER, {"unusable": 2}, "2 live networks are unusable"),
        (
            NEWER,
            {"served": False},
            "the registered model forecasts something else than the run did",
        ),
        (NEWER, {"require_skill": True}, "verdict is no evidence of skill"),
        (
            replace(NEWER, data_sha256="old", data_last=date(2021, 6, 1)),
            {},
            "version 3 has learned from the same prices",
        ),
        (
            replace(NEWER, data_last=date(2021, 5, 31)),
            {},
            "prices end on 2021-05-31, those of version 3 on 2021-06-01",
        ),
    ],
)
def test_a_failed_condition_is_the_reason(
    challenger: Candidate, options: dict[str, bool], reason: str
) -> None:
    judgement = judged(challenger, **options)
    assert not judgement.promoted
    assert judgement.reason == reason


def test_prices_that_were_rewritten_up_to_the_same_session_are_new() -> None:
    assert judged(replace(NEWER, data_last=date(2021, 6, 1))).promoted


def test_synthetic_prices_and_skill_pass_where_they_are_asked_for() -> None:
    skilled = replace(NEWER, data_source="synthetic", verdict="skill")
    assert judged(skilled, require_skill=True, allow_synthetic=True).promoted


def test_another_configuration_must_be_shown_to_lose_less_than_the_margin() -> None:
    assert judged(other(calls(-0.01, seed=1))).promoted
    assert judged(other(calls(0.0, seed=1))).promoted
    assert judged(other(calls(0.001, seed=1))).promoted
    judgement = judged(other(calls(0.006, seed=1)))
    assert not judgement.promoted
    assert (
        "of version 3, of another configuration, on 1200 days; that it loses less than 0.005"
        in (judgement.reason)
    )
    own, theirs = (
        log_losses(table["up"].to_numpy(), table["probability"].to_numpy())
        for table in (calls(0.006, seed=1), calls())
    )
    oracle = diebold_mariano_test(
        np.zeros(1200),
        own,
        theirs + MARGIN,
        criterion=lambda _, loss: loss,
        lags=0,
        harvey_adj=True,
    )
    assert judgement.figures["days"] == 1200
    assert judgement.figures["dm_statistic"] == pytest.approx(oracle.statistic)
    assert judgement.figures["dm_pvalue"] == pytest.approx(1 - oracle.pvalue / 2)


def test_a_worse_one_passes_by_chance_once_in_a_hundred() -> None:
    """At the margin itself, counted; and an equal one nearly always passes."""
    passed = {gain: 0 for gain in (MARGIN, 0.0)}
    for gain in passed:
        for seed in range(1, 201):
            passed[gain] += judged(other(calls(gain, seed=seed))).promoted
    assert passed[MARGIN] <= binom.ppf(0.999, 200, 0.01)
    assert passed[0.0] >= 190


def test_thirty_gates_in_a_row_never_lose_more_than_the_margin() -> None:
    """Each challenger is a fifth of the margin worse than the champion it meets."""
    lost = [loss_after_thirty(seed, remembers=True) for seed in range(40)]
    assert max(lost) <= MARGIN
    assert np.mean([loss_after_thirty(seed, remembers=False) > MARGIN for seed in range(10)]) > 0.8


def loss_after_thirty(seed: int, *, remembers: bool) -> float:
    """How much the last champion loses to the first, in truth."""
    champions = [(0.0, other(calls(seed=1000 * seed), version=0))]
    for gate in range(1, 31):
        loss = champions[-1][0] + MARGIN / 5
        table = calls(loss, seed=1000 * seed + gate)
        challenger = replace(other(table, gate), data_sha256=f"{gate}")
        *earlier, champion = (candidate for _, candidate in champions)
        judgement = judge(
            Promotion(),
            challenger,
            champion,
            earlier if remembers else (),
            unusable=0,
            served=True,
        )
        if judgement.promoted:
            champions.append((loss, challenger))
    return champions[-1][0]


@pytest.mark.parametrize(("days", "promoted"), [(7, False), (249, False), (250, True)])
def test_two_configurations_need_250_days_in_common(days: int, promoted: bool) -> None:
    judgement = judged(other(calls(-0.02, seed=1, days=DAYS[-days:])))
    assert judgement.promoted is promoted
    if not promoted:
        assert judgement.reason == f"{days} days in common with version 3, 250 needed{WAY_OUT}"
        assert judgement.figures == {"days": days}


def test_no_day_in_common_is_no_comparison() -> None:
    apart = calls().set_axis(DAYS + pd.Timedelta(days=9000))
    for challenger in (other(apart), replace(NEWER, calls=lambda: apart)):
        reason = judged(challenger).reason
        assert reason == f"0 days in common with version 3, 250 needed{WAY_OUT}"


@pytest.mark.parametrize("same_config", [True, False])
def test_other_prices_under_the_ticker_are_refused(same_config: bool) -> None:
    others = calls(-0.02, seed=1)
    others["next_return"] = RNG.permutation(others["next_return"])
    challenger = replace(other(others), config_hash="same" if same_config else "other")
    judgement = judged(challenger)
    assert not judgement.promoted
    assert re.fullmatch(
        r"its returns agree with those of version 3 on \d+% of 1200 days: other prices"
        + re.escape(WAY_OUT),
        judgement.reason,
    )


def test_corrected_prices_of_a_few_days_are_the_same() -> None:
    corrected = calls()
    corrected.iloc[:30, 2] += 0.02
    assert judged(replace(NEWER, calls=lambda: corrected)).promoted


def test_skill_is_replaced_by_less_only_with_a_word() -> None:
    skilled = replace(CHAMPION, verdict="skill")
    judgement = judged(NEWER, skilled)
    assert judgement.promoted
    assert judgement.reason.endswith("skill of version 3 is replaced by no evidence of skill")
    assert "replaced" not in judged(replace(NEWER, verdict="skill"), skilled).reason
    assert "replaced" not in judged(NEWER).reason


def test_equal_losses_are_not_worse() -> None:
    same = judged(other(calls()))
    assert same.promoted
    assert "without any difference" in same.reason
    assert "dm_pvalue" not in same.figures


def of_other_prices() -> pd.DataFrame:
    table = calls(-0.02, seed=1)
    table["next_return"] = np.random.default_rng(1).permutation(table["next_return"])
    return table


@pytest.mark.parametrize("config_hash", ["same", "other"])
@pytest.mark.parametrize("data_last", [date(2021, 6, 1), date(2021, 5, 31)])
def test_real_prices_replace_a_champion_of_synthetic_ones(
    config_hash: str, data_last: date
) -> None:
    synthetic = replace(CHAMPION, data_source="synthetic", verdict="skill", calls=of_other_prices)
    challenger = replace(NEWER, config_hash=config_hash, data_last=data_last)
    judgement = judged(challenger, synthetic)
    assert judgement.promoted
    assert judgement.reason.endswith("version 3 was trained on synthetic prices")
    assert not judged(challenger, synthetic, served=False).promoted


def test_synthetic_prices_do_not_replace_a_champion_of_real_ones() -> None:
    synthetic = replace(NEWER, data_source="synthetic", calls=of_other_prices)
    assert "other prices" in judged(synthetic, allow_synthetic=True).reason
    champion = replace(CHAMPION, data_source="synthetic")
    renewed = judged(replace(NEWER, data_source="synthetic"), champion, allow_synthetic=True)
    assert renewed.reason.endswith("same configuration as version 3")


def test_an_earlier_champion_that_is_better_refuses_another_configuration() -> None:
    better = other(calls(-0.02, seed=2), version=1)
    judgement = judged(other(calls(seed=1)), earlier=[better])
    assert not judgement.promoted
    assert "of version 1, of another configuration" in judgement.reason


def test_the_figures_are_of_the_hardest_comparison() -> None:
    better, worse = (other(calls(gain, seed=2), version=1) for gain in (-0.02, 0.02))
    challenger = other(calls(seed=1))
    alone = judged(challenger).figures
    assert judged(challenger, earlier=[better]).figures["dm_pvalue"] > alone["dm_pvalue"]
    assert judged(challenger, earlier=[worse]).figures == alone


def test_no_earlier_champion_refuses_the_renewal_of_the_present_one() -> None:
    better = other(calls(-0.02, seed=2), version=1)
    judgement = judged(NEWER, earlier=[better], deleted=3)
    assert judgement.promoted
    assert judgement.reason.endswith("same configuration as version 3")


@pytest.mark.parametrize(
    ("table", "facts"),
    [
        (None, "the calls of version 1 are missing or damaged"),
        (calls(-0.02, days=DAYS[-249:]), "249 days in common with version 1, 250 needed"),
        (of_other_prices(), "days: other prices"),
    ],
)
def test_an_earlier_champion_that_cannot_be_compared_is_only_mentioned(
    table: pd.DataFrame | None, facts: str
) -> None:
    earlier = replace(CHAMPION, version=1, config_hash="first", calls=lambda: table)
    judgement = judged(other(calls(seed=1)), earlier=[earlier])
    assert judgement.promoted
    assert judgement.reason.endswith(facts)
    assert "alias" not in judgement.reason


def test_earlier_champions_whose_runs_were_deleted_are_mentioned() -> None:
    judgement = judged(other(calls(seed=1)), deleted=2)
    assert judgement.promoted
    assert judgement.reason.endswith("runs of earlier champions were deleted: 2")


@pytest.mark.parametrize("challenger", [NEWER, other(calls(-0.02, seed=1))])
def test_a_champion_without_calls_stays_and_the_reason_names_the_way_out(
    challenger: Candidate,
) -> None:
    judgement = judged(challenger, replace(CHAMPION, calls=lambda: None))
    assert not judgement.promoted
    assert judgement.reason == f"the calls of version 3 are missing or damaged{WAY_OUT}"

"""The gate, condition by condition."""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.stattools import diebold_mariano_test

from rnn_core.config import Promotion
from rnn_core.operations.promotion import Candidate, Judgement, judge

DAYS = pd.bdate_range("2021-01-04", periods=300)
RNG = np.random.default_rng(0)
LOSSES = pd.Series(0.69 + 0.05 * RNG.standard_normal(300), DAYS)


def no_losses() -> "pd.Series[float]":
    raise AssertionError("the same configuration is not compared")


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
    losses=no_losses,
)
NEWER = replace(CHAMPION, version=4, run_id="r4", data_sha256="new", data_last=date(2021, 6, 2))


def judged(
    challenger: Candidate,
    champion: Candidate | None = CHAMPION,
    *,
    unusable: int = 0,
    served: bool = True,
    **set_: bool,
) -> Judgement:
    return judge(Promotion(**set_), challenger, champion, unusable=unusable, served=served)


def other(losses: "pd.Series[float]") -> Candidate:
    return replace(NEWER, config_hash="other", losses=lambda: losses)


def test_the_first_real_model_becomes_champion() -> None:
    assert judged(NEWER, None).promoted


def test_the_same_configuration_on_newer_data_is_promoted_without_a_comparison() -> None:
    judgement = judged(NEWER)
    assert judgement.promoted
    assert judgement.reason.endswith("same configuration as version 3")


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


def test_another_configuration_must_not_be_significantly_worse_on_the_days_both_have() -> None:
    champion = replace(CHAMPION, losses=lambda: LOSSES.iloc[:250])
    noise = 0.02 * RNG.standard_normal(300)
    better, equal, worse = (
        other((LOSSES + noise + shift).iloc[50:]) for shift in (-0.01, 0.0, 0.01)
    )
    assert judged(better, champion).promoted
    assert judged(equal, champion).promoted
    judgement = judged(worse, champion)
    assert not judgement.promoted
    both = slice(50, 250)
    shifted = (LOSSES + noise + 0.01).iloc[both].to_numpy()
    oracle = diebold_mariano_test(
        np.zeros(200),
        shifted,
        LOSSES.iloc[both].to_numpy(),
        criterion=lambda _, loss: loss,
        lags=0,
        harvey_adj=True,
    )
    assert judgement.figures["days"] == 200
    assert judgement.figures["dm_statistic"] == pytest.approx(oracle.statistic)
    assert judgement.figures["dm_pvalue"] == pytest.approx(oracle.pvalue / 2)
    assert "of version 3, of another configuration, on 200 days (p 0.000)" in judgement.reason


def test_the_comparison_is_one_sided_at_five_per_cent() -> None:
    champion = replace(CHAMPION, losses=lambda: LOSSES)
    noise = pd.Series(0.02 * RNG.standard_normal(300), DAYS)
    noise -= noise.mean()
    error = noise.std(ddof=0) / np.sqrt(299)  # of the mean, with Harvey's factor for one step
    assert judged(other(LOSSES + noise + 1.60 * error), champion).promoted, "one-sided p 0.055"
    assert not judged(other(LOSSES + noise + 1.70 * error), champion).promoted, "one-sided p 0.045"


def test_equal_losses_and_no_day_in_common_are_not_worse() -> None:
    champion = replace(CHAMPION, losses=lambda: LOSSES)
    same = judged(other(LOSSES), champion)
    assert same.promoted
    assert "without any difference" in same.reason
    assert "dm_pvalue" not in same.figures
    apart = judged(other(LOSSES.set_axis(DAYS + pd.Timedelta(days=1000))), champion)
    assert apart.promoted
    assert apart.figures == {"days": 0}

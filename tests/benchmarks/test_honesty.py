"""A small version of the controls: what is not there is not found, what is there is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from benchmarks.honesty.judging import (
    CONTROLS,
    Judged,
    Result,
    judged_prices,
    judged_until,
    one_process_a_core,
    run,
)
from benchmarks.honesty.series import BOUNCE, KINDS, NULL, Kind, prices
from rnn_core.config import Training
from rnn_core.evaluation import direction_tests, significance
from rnn_core.evaluation.audit import most_false
from rnn_core.evaluation.spending import FIRST_LOOK
from rnn_core.nn.arrays import Array

FAST = Training(dtype="float32", seeds=2, epochs=12, patience=4)
BY_NAME = {control.name: control for control in CONTROLS}


@pytest.mark.parametrize("name", ["45 to 65 at 1200", "stale", "null, daily"])
def test_no_skill_is_found_where_there_is_none(name: str) -> None:
    assert run(BY_NAME[name].shortened(3), FAST).broken == []


def test_skill_is_found_where_it_was_planted() -> None:
    result = run(BY_NAME["planted"].shortened(3), FAST)
    assert result.broken == []
    assert result.skill == 3


def test_the_calls_up_to_a_day_are_those_of_a_retrain_on_that_day() -> None:
    """So one training is enough to ask on each of 250 days."""
    whole = prices(KINDS["planted"], 0)
    whole_judged = judged_prices(whole, FAST, FIRST_LOOK)
    for fewer in (1, 20, 100):
        then = replace(whole, frame=whole.frame.iloc[:-fewer])
        retrained = judged_prices(then, FAST, FIRST_LOOK)
        calls = whole_judged.calls.iloc[:-fewer]
        pd.testing.assert_frame_equal(retrained.calls, calls, check_exact=True)
        assert judged_until(calls, FIRST_LOOK).tag == retrained.verdict.tag


def test_eight_looks_are_taken_until_one_finds_something() -> None:
    found = run(replace(BY_NAME["null, best of eight"], kind=KINDS["planted"], series=1), FAST)
    assert found.skill == 1
    assert run(BY_NAME["null, best of eight"].shortened(1), FAST).broken == []


def test_two_seeds_are_not_told_apart_and_one_that_sees_is_better() -> None:
    assert run(BY_NAME["null, two seeds"].shortened(5), FAST).broken == []
    seen = run(BY_NAME["planted, 3300 days, seeing or not"].shortened(2), FAST)
    assert seen.broken == []
    assert all(judged.headline.startswith("A is better") for judged in seen.judged[:1])


def test_processes_judge_as_one_does() -> None:
    control = BY_NAME["drift"].shortened(3)
    with one_process_a_core() as pool:
        assert run(control, FAST, over=pool.map).judged == run(control, FAST).judged


def test_a_rule_that_ignores_the_base_rate_breaks_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So the bound is worth something."""

    given_the_fold = direction_tests.within_strata

    def unaware(up: Array, forecast: Array, stratum: Array) -> significance.Test | None:
        return given_the_fold(up, forecast, np.zeros_like(stratum))

    monkeypatch.setattr(direction_tests, "within_strata", unaware)
    broken = run(BY_NAME["45 to 65 at 1200"].shortened(8), FAST).broken
    assert len(broken) == 1
    assert "at most 2 by chance" in broken[0]


def test_a_bounce_is_skill_that_cannot_be_traded() -> None:
    result = run(BY_NAME["bounce 2.0%"].shortened(3), FAST)
    assert result.skill == 3
    assert result.bare == 0
    assert all("not" in judged.headline for judged in result.judged)


def test_the_bound_on_false_finds_is_that_of_the_binomial() -> None:
    assert most_false(200) == 16
    assert most_false(20) == 3
    assert most_false(6) == 2


def judged(skill: int, others: int, headline: str = "skill", accuracy: float = 0.5) -> list[Judged]:
    none = "no evidence of skill"
    return [Judged("skill", headline, accuracy, 1187)] * skill + [
        Judged(none, none, accuracy, 1187)
    ] * others


def test_each_bound_is_held_and_reported() -> None:
    assert Result(BY_NAME["null"], judged(17, 183), 1.0).broken == [
        "null: skill in 17, at most 16 by chance"
    ]
    assert Result(BY_NAME["drift"], judged(16, 184), 1.0).broken == []
    assert Result(BY_NAME["planted"], judged(94, 6, accuracy=0.56), 1.0).broken == [
        "planted: skill in 94, at least 95 are asked",
        "planted: accuracy 0.560, 0.57 is asked",
    ]
    assert Result(BY_NAME["weak"], judged(39, 61), 1.0).broken == [
        "weak: skill in 39, at least 40 are asked"
    ]
    assert Result(BY_NAME["weak"], judged(40, 60), 1.0).broken == []
    bare = Result(BY_NAME["bounce 1.0%"], judged(17, 183), 1.0)
    assert bare.broken == ["bounce 1.0%: 17 headlines without “not tradable”, at most 16"]
    costly = "skill in direction, not tradable at 5 bp"
    assert Result(BY_NAME["bounce 1.0%"], judged(200, 0, costly), 1.0).broken == []
    short = [Judged("skill", "skill", 0.6, 1099)] * 100
    assert Result(BY_NAME["planted"], short, 1.0).broken == [
        "planted: 1099 test days, 1100 are asked"
    ]


def test_a_tenth_is_judged_by_bounds_as_likely_to_hold() -> None:
    null = BY_NAME["null"].shortened(20)
    planted = BY_NAME["planted"].shortened(10)
    assert (null.series, null.most_skill) == (20, 3)
    assert (planted.series, planted.least_skill) == (10, 8)
    assert BY_NAME["weak"].shortened(10).least_skill == 1
    assert BY_NAME["XOR"].shortened(10).least_skill == 0


def test_quick_is_for_honesty_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick"]) == 2
    assert main(["torch", "--quick"]) == 2
    assert "--quick is only allowed with honesty alone (got torch)" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_series_is_fit_to_train_on_and_the_same_each_time(kind: Kind) -> None:
    first, again, other = (prices(kind, series).frame for series in (0, 0, 1))
    close = first["close"].to_numpy()
    assert len(close) == kind.days
    assert np.isfinite(close).all()
    assert (close > 0).all()
    assert first.equals(again)
    assert not first.equals(other)


def signs(name: str, count: int = 8) -> list[np.ndarray]:
    """The log returns of some series of a kind."""
    frames = (prices(KINDS[name], series).frame for series in range(count))
    return [np.diff(np.log(frame["close"])) for frame in frames]


@pytest.mark.parametrize(
    ("name", "tells", "accuracy"),
    [
        ("planted", lambda r: r[1:] * r[:-1] > 0, 0.60),
        ("weak", lambda r: r[1:] * r[:-1] > 0, 0.55),
        ("lag 2", lambda r: r[2:] * r[:-2] > 0, 0.60),
        ("lag 5", lambda r: r[5:] * r[:-5] > 0, 0.60),
        ("XOR", lambda r: r[2:] * r[1:-1] * r[:-2] > 0, 0.60),
        ("drift", lambda r: r > 0, 0.55),
        ("65 to 45 at 1200", lambda r: r[:1200] > 0, 0.65),
        ("65 to 45 at 900", lambda r: r[900:] > 0, 0.45),
        ("58 to 48 at 1200", lambda r: r[1200:] > 0, 0.48),
        ("45 to 65 at 1200", lambda r: r[1200:] > 0, 0.65),
        ("stale", lambda r: r == 0, 0.20),
        ("t2", lambda r: r[1:] * r[:-1] > 0, 0.50),
        ("weekend", lambda r: r[1:] * r[:-1] > 0, 0.50),
        ("regimes", lambda r: r[1:] * r[:-1] > 0, 0.50),
        ("bounce 2.0%", lambda r: r[1:] * r[:-1] > 0, 0.40),
    ],
)
def test_what_a_kind_plants_is_there(
    name: str, tells: Callable[[np.ndarray], np.ndarray], accuracy: float
) -> None:
    shares = [tells(returns).mean() for returns in signs(name)]
    assert np.mean(shares) == pytest.approx(accuracy, abs=0.02)


def test_every_null_kind_is_bounded_and_every_bounce_asks_for_the_economic_line() -> None:
    assert all(BY_NAME[kind.name].most_skill == 16 for kind in NULL)
    assert all(BY_NAME[kind.name].most_bare == 16 for kind in BOUNCE)
    assert all(BY_NAME[kind.name].series == 200 for kind in (*NULL, *BOUNCE))


def test_each_kind_has_a_control() -> None:
    assert {control.kind for control in CONTROLS} == set(KINDS.values())

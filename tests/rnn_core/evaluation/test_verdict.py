"""The rule by which a run is judged, and what its headline must not leave out."""

from dataclasses import replace
from math import log

import pytest

from rnn_core.errors import ConfigError
from rnn_core.evaluation.spending import nth_look
from rnn_core.evaluation.verdict import MEASURED, Showing, Verdict, Worth, verdict

BASELINES = {"majority": Showing(None, 610, 0.692), "reversal": Showing(0.5, 600, 0.695)}
FOUND = Showing(0.01, 640, 0.690)
EARNED = Worth(cost=5, break_even=9, timing_pvalue=0.01)


def judged(
    network: Showing = FOUND,
    baselines: dict[str, Showing] = BASELINES,
    days: int = 1200,
    number: int = 1,
    worth: Worth = EARNED,
) -> Verdict:
    return verdict(network, baselines, days, nth_look(number), worth)


class TestTag:
    @pytest.mark.parametrize(
        ("pvalue", "number", "days", "log_loss", "tag"),
        [
            (0.0227, 1, 1200, 0.690, "skill"),
            (0.0229, 1, 1200, 0.690, "no evidence of skill"),
            (0.0026, 3, 1200, 0.690, "no evidence of skill"),
            (0.0025, 3, 1200, 0.690, "skill"),
            (0.001, 1, 1200, 0.692, "no evidence of skill"),
            (0.001, 1, 1200, 0.6925, "no evidence of skill"),
            (None, 1, 1200, 0.690, "no evidence of skill"),
            (0.001, 1, 1200, float("nan"), "no evidence of skill"),
            (0.3, 1, 616, 0.690, "no evidence of skill"),
            (0.3, 1, 615, 0.690, "inconclusive"),
            (None, 1, 615, 0.690, "inconclusive"),
            (0.001, 1, 615, 0.690, "skill"),
        ],
    )
    def test_it_is_by_the_rule(
        self, pvalue: float | None, number: int, days: int, log_loss: float, tag: str
    ) -> None:
        network = Showing(pvalue, days // 2, log_loss)
        assert judged(network, days=days, number=number).tag == tag

    def test_a_coin_must_be_beaten_too(self) -> None:
        """After a drift that has turned, the training base rate is worse than a coin."""
        base = {"majority": Showing(None, 600, 0.70)}
        for loss, tag in ((0.6932, "no evidence of skill"), (0.6931, "skill")):
            assert judged(replace(FOUND, log_loss=loss), base).tag == tag
        assert judged(replace(FOUND, log_loss=log(2)), base).tag == "no evidence of skill"

    def test_money_and_baselines_change_the_headline_and_never_the_tag(self) -> None:
        rival = BASELINES | {"reversal": Showing(0.001, 700, 0.68)}
        assert judged(baselines=rival, worth=Worth(5, None, None)).tag == "skill"


class TestHeadline:
    def test_skill_that_earns_its_cost_is_said_alone(self) -> None:
        assert judged().headline == "skill"

    @pytest.mark.parametrize(
        ("break_even", "pvalue", "headline"),
        [
            (4.9, 0.001, "skill in direction, not tradable at 5 bp"),
            (-3, 0.001, "skill in direction, not tradable at 5 bp"),
            (None, None, "skill in direction, not tradable at 5 bp"),
            (5, 0.05, "skill"),
            (900, 0.051, "skill in direction, not shown to be tradable at 5 bp"),
            (900, None, "skill in direction, not shown to be tradable at 5 bp"),
        ],
    )
    def test_skill_that_does_not_pay_is_in_direction_only(
        self, break_even: float | None, pvalue: float | None, headline: str
    ) -> None:
        assert judged(worth=Worth(5, break_even, pvalue)).headline == headline

    def test_the_cost_is_the_configured_one(self) -> None:
        assert judged(worth=Worth(12.5, 9, 0.01)).headline.endswith("not tradable at 12.5 bp")

    def test_a_more_accurate_baseline_that_passes_the_same_rule_is_in_it(self) -> None:
        rival = Showing(0.02, 641, 0.6919)
        shared = judged(baselines=BASELINES | {"persistence": rival})
        assert shared.headline == "skill, and so has persistence"
        both = BASELINES | {"persistence": rival, "boosting": rival}
        assert judged(baselines=both).headline == "skill, and so have persistence and boosting"
        costly = judged(baselines=both, worth=Worth(5, 1, 0.5)).headline
        assert costly == (
            "skill in direction, and so have persistence and boosting, not tradable at 5 bp"
        )

    @pytest.mark.parametrize(
        "rival",
        [
            Showing(0.02, 640, 0.6919),
            Showing(0.03, 700, 0.6919),
            Showing(0.02, 700, 0.692),
            Showing(None, 700, 0.6919),
        ],
        ids=["not more accurate", "not significant", "no better than the base rate", "undefined"],
    )
    def test_other_baselines_are_not(self, rival: Showing) -> None:
        assert judged(baselines=BASELINES | {"persistence": rival}).headline == "skill"

    def test_worse_than_chance_is_said_where_the_interval_is_below_a_half(self) -> None:
        """Wilson’s interval of 566 in 1,200 ends below ½, that of 567 above."""
        for days, tag in ((1200, "no evidence of skill"), (400, "inconclusive")):
            bad = Showing(0.99, round(days * 0.44), 0.70)
            assert judged(bad, days=days).headline == f"{tag}, worse than chance"
        assert judged(Showing(0.9, 566, 0.7)).headline.endswith("worse than chance")
        assert judged(Showing(0.9, 567, 0.7)).headline == "no evidence of skill"


class TestReason:
    def test_skill_that_a_baseline_has_too_is_said_to_be_so(self) -> None:
        rivals = BASELINES | {
            "reversal": Showing(0.001, 600, 0.67),
            "logistic": Showing(0.02, 600, 0.675),
        }
        shared = judged(baselines=rivals)
        assert shared.lowest == "reversal"
        assert "but the baseline reversal has a lower log loss, 0.6700" in str(shared)
        assert "reversal and logistic pass too" in shared.reason
        alone = judged(replace(FOUND, log_loss=0.66))
        assert alone.lowest == "network"
        assert "but" not in alone.reason
        assert "but" not in judged(Showing(0.5, 600, 0.694)).reason, (
            "nothing was found that others could share"
        )

    def test_a_majority_that_is_right_more_often_is_said(self) -> None:
        always = BASELINES | {"majority": Showing(None, 660, 0.692)}
        assert judged(baselines=always).reason.endswith(
            "always calling the majority class is right on 55.0%, the network on 53.3%"
        )

    def test_the_number_of_the_look_and_its_level_are_said(self) -> None:
        assert "direction p 0.01 given the base rate (judged at 2.3 %)" in judged().reason
        seventh = judged(number=7).reason
        assert "direction p 0.01 given the base rate (look 7 on these days, judged at 0.047 %)" in (
            seventh
        )


class TestPower:
    def test_it_is_the_oracles_and_the_measured_one_at_no_more_days(self) -> None:
        by_days = {row.days: row for row in MEASURED}
        for days, measured in ((100, 637), (637, 637), (1186, 637), (1187, 1187), (9999, 2687)):
            found = judged(Showing(0.5, days // 2, 0.7), days=days)
            row = by_days[measured]
            assert found.power.endswith(f"in {row.found} of {row.series} series of {measured} days")
            assert found.inputs["measured_power"] == row.found / row.series
        assert "in 616 test days an oracle of 55.7% accuracy is found with 80% power" in (
            judged(days=616).power
        )
        assert "not even an oracle" in judged(Showing(None, 1, 0.7), days=1).power

    def test_a_network_that_must_learn_is_found_less_often_than_an_oracle(self) -> None:
        assert all(0 < row.found / row.series < 0.95 for row in MEASURED)
        assert next(row for row in MEASURED if row.days == 1187).found / 100 < 0.8
        assert [row.found for row in MEASURED] == sorted(row.found for row in MEASURED)


def test_what_it_was_judged_by_is_kept_without_what_is_undefined() -> None:
    measured = next(row for row in MEASURED if row.days == 1187)
    assert judged(Showing(0.02, 640, 0.690), number=3).inputs == {
        "days": 1200,
        "days_needed": 616,
        "detectable_accuracy": pytest.approx(0.5526, abs=1e-3),
        "measured_power": measured.found / measured.series,
        "trials": 3,
        "level": nth_look(3).level,
        "conditional_pvalue": 0.02,
        "conditional_pvalue_adjusted": pytest.approx(0.02 * 0.05 / nth_look(3).level),
        "log_loss": 0.690,
        "log_loss_majority": 0.692,
    }
    undefined = judged(Showing(None, 50, float("inf")), days=100)
    assert not undefined.inputs.keys() & {"conditional_pvalue", "log_loss"}
    assert undefined.lowest == "majority"
    assert judged(Showing(None, 50, float("nan")), days=100).lowest == "majority"
    assert str(undefined).startswith(
        "inconclusive: 100 test days, 616 needed; direction p undefined"
    )


def test_it_needs_the_base_rate() -> None:
    with pytest.raises(ConfigError, match=r"baselines must include majority.* \(got reversal\)"):
        judged(baselines={"reversal": BASELINES["reversal"]})

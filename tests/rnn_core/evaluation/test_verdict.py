"""The rule by which a run is judged."""

from math import log

import pytest

from rnn_core.errors import ConfigError
from rnn_core.evaluation.verdict import verdict

LOSSES = {"majority": 0.692, "reversal": 0.695}


class TestVerdict:
    @pytest.mark.parametrize(
        ("pvalue", "trials", "days", "log_loss", "tag"),
        [
            (0.05, 1, 1200, 0.690, "skill"),
            (0.0501, 1, 1200, 0.690, "no evidence of skill"),
            (0.02, 3, 1200, 0.690, "no evidence of skill"),
            (0.01, 5, 1200, 0.690, "skill"),
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
        self, pvalue: float | None, trials: int, days: int, log_loss: float, tag: str
    ) -> None:
        assert verdict(pvalue, trials, days, log_loss, LOSSES).tag == tag

    def test_a_coin_must_be_beaten_too(self) -> None:
        """After a drift that has turned, the training base rate is worse than a coin."""
        assert verdict(0.001, 1, 1200, 0.6932, {"majority": 0.70}).tag == "no evidence of skill"
        assert verdict(0.001, 1, 1200, log(2), {"majority": 0.70}).tag == "no evidence of skill"
        assert verdict(0.001, 1, 1200, 0.6931, {"majority": 0.70}).tag == "skill"

    def test_skill_that_a_baseline_has_too_is_said_to_be_so(self) -> None:
        found = verdict(
            0.001, 1, 1200, 0.68, {"majority": 0.692, "reversal": 0.67, "logistic": 0.675}
        )
        assert found.tag == "skill"
        assert found.lowest == "reversal"
        assert "but the baseline reversal has a lower log loss, 0.6700" in str(found)
        own = verdict(0.001, 1, 1200, 0.66, {"majority": 0.692, "reversal": 0.67})
        assert own.lowest == "network"
        assert "but" not in own.reason
        assert "but" not in verdict(0.5, 1, 1200, 0.694, LOSSES).reason, (
            "nothing was found that others could share"
        )

    def test_what_it_was_judged_by_stands_beside_it_without_what_is_undefined(self) -> None:
        assert verdict(0.02, 3, 1200, 0.690, LOSSES).inputs == {
            "days": 1200,
            "days_needed": 616,
            "trials": 3,
            "pt_pvalue": 0.02,
            "pt_pvalue_adjusted": pytest.approx(1 - 0.98**3),
            "log_loss": 0.690,
            "log_loss_majority": 0.692,
        }
        undefined = verdict(None, 1, 100, float("inf"), LOSSES)
        assert undefined.inputs.keys() == {"days", "days_needed", "trials", "log_loss_majority"}
        assert undefined.lowest == "majority"
        assert verdict(None, 1, 100, float("nan"), LOSSES).lowest == "majority"
        assert str(undefined).startswith(
            "inconclusive: 100 test days, 616 needed; direction p undefined"
        )

    def test_it_needs_the_base_rate_and_a_trial(self) -> None:
        with pytest.raises(
            ConfigError, match=r"baselines must include majority.* \(got reversal\)"
        ):
            verdict(0.1, 1, 1000, 0.69, {"reversal": 0.69})
        with pytest.raises(ConfigError, match=r"trials must be at least 1 \(got 0\)"):
            verdict(0.1, 0, 1000, 0.69, LOSSES)

"""Promotion: the one place that decides whether a retrained model replaces the champion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import pandas as pd

from rnn_core.config import Promotion
from rnn_core.data.prices import is_synthetic
from rnn_core.evaluation.metrics import log_losses
from rnn_core.evaluation.significance import diebold_mariano
from rnn_core.evaluation.verdict import SKILL
from rnn_core.nn.arrays import Array

FEWEST_DAYS = 250  # in common, to compare two configurations
ALPHA = 0.01  # of a loss beyond the margin, at each comparison: there are many in a row
AGREE = 1e-3  # log return: so near are returns of the same prices from two sources
MOST = 0.95  # share of the common days on which they must agree


@dataclass(frozen=True)
class Candidate:
    """A registered model and what is known about it.

    Attributes:
        version: of the registered model.
        run_id: the run that trained it.
        config_hash: of the configuration it was trained with.
        exchange: MIC of the exchange calendar of its prices.
        data_source: where its prices came from, such as `yahoo` or `synthetic`.
        data_sha256: of the prices.
        data_last: the last session among them.
        verdict: `skill`, `inconclusive` or `no evidence of skill`.
        scores: of its walk-forward, by metric name.
        calls: returns the calls of its walk-forward by date; of the columns of `Evaluation.calls`
            `probability`, `up` and `next_return` are needed. None if they are missing or damaged.
    """

    version: int
    run_id: str
    config_hash: str
    exchange: str
    data_source: str
    data_sha256: str
    data_last: date
    verdict: str
    scores: Mapping[str, float]
    calls: Callable[[], pd.DataFrame | None]


@dataclass(frozen=True)
class Check:
    """One condition of a promotion: whether it holds, and a clause that states the facts."""

    name: str
    holds: bool
    facts: str


@dataclass(frozen=True)
class Judgement:
    """The verdict on a challenger, condition by condition.

    Attributes:
        checks: every condition that was examined.
        figures: of the comparison that is the hardest to pass, by name: `days`, `loss`,
            `champion_loss` and, if defined, `dm_statistic` and `dm_pvalue` (one-sided: that the
            challenger loses more than the margin).
    """

    checks: tuple[Check, ...]
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def promoted(self) -> bool:
        """True if every condition holds."""
        return all(check.holds for check in self.checks)

    @property
    def reason(self) -> str:
        """One sentence: the conditions that fail, or all of them if none does."""
        failed = [check for check in self.checks if not check.holds]
        return "; ".join(check.facts for check in failed or self.checks)


@dataclass(frozen=True)
class Comparison:
    """How a challenger compares with another version on the days that both have forecast.

    Attributes:
        facts: a clause that states them.
        passed: True if the challenger renews the other version or is shown to lose little to it.
        comparable: False if there are too few common days, other prices, or calls are missing.
        figures: as those of `Judgement`.
    """

    facts: str
    passed: bool = False
    comparable: bool = True
    figures: dict[str, float] = field(default_factory=dict)


def judge(
    settings: Promotion,
    challenger: Candidate,
    champion: Candidate | None,
    earlier: Sequence[Candidate] = (),
    *,
    deleted: int = 0,
    missing: str = "",
    unusable: int,
    served: bool,
    damaged: bool = False,
) -> Judgement:
    """Decide whether a newly registered challenger becomes champion.

    1. Its prices are real (or synthetic ones are allowed); all its live networks are usable; it is
       served as it was trained; its verdict is `skill`, if that is required.
    2. It has learned from prices that the champion has not seen, and not from older ones.
    3. It has the champion's configuration and its returns agree with the champion's. Or it is shown
       to lose at most `settings.margin` in mean log loss against the champion and the latest
       earlier one of each other configuration, so also against the best so far: Diebold–Mariano on
       the losses less the margin, one-sided at 1 %, on at least `FEWEST_DAYS` common days.

    A champion that cannot be compared stays, and the reason names the way out; an earlier one that
    cannot be compared is only mentioned. Real prices replace synthetic ones without 2 and 3, and so
    does any challenger a champion that cannot forecast any more. A champion with skill can be
    replaced by less, and then the reason says so.

    Args:
        settings: what is required and allowed.
        challenger: the new model.
        champion: the present one, if any.
        earlier: other champions in force, the latest of each other configuration.
        deleted: number of other champions in force whose runs were deleted.
        missing: why there is no champion, if there was one.
        unusable: number of live networks that turned non-finite.
        served: True if the registered model loads and forecasts, bit for bit, as the run did.
        damaged: True if the champion cannot forecast, because its files are missing or damaged.

    >>> calls = lambda: pd.DataFrame({"probability": [0.5], "up": [1], "next_return": [0.01]})
    >>> first = Candidate(
    ...     version=1, run_id="a", config_hash="c", exchange="XNYS", data_source="yahoo",
    ...     data_sha256="d", data_last=date(2013, 2, 28), verdict="skill", scores={}, calls=calls,
    ... )
    >>> judge(Promotion(), first, None, unusable=0, served=True).promoted
    True
    >>> judge(Promotion(), first, first, unusable=0, served=True).reason
    'version 1 has learned from the same prices'
    """
    checks = _own_checks(settings, challenger, unusable, served)
    if champion is None:
        facts = missing or "there is no champion yet"
        return Judgement((*checks, Check("newer", True, facts)))
    if damaged:
        no_rival = f"version {champion.version} is damaged"
        return Judgement((*checks, Check("newer", True, no_rival)))
    if is_synthetic(champion.data_source) and not is_synthetic(challenger.data_source):
        no_rival = f"version {champion.version} was trained on synthetic prices"
        return Judgement((*checks, Check("newer", True, no_rival)))
    checks.append(_newer(challenger, champion))
    comparisons = [_compare(settings.margin, challenger, champion)]
    checks.append(_not_worse_than_champion(comparisons[0], champion))
    if challenger.config_hash != champion.config_hash:
        past = [_compare(settings.margin, challenger, rival) for rival in earlier]
        checks += _not_worse_than_earlier(past, deleted)
        comparisons += past
    if champion.verdict == SKILL and challenger.verdict != SKILL:
        loss = f"skill of version {champion.version} is replaced by {challenger.verdict}"
        checks.append(Check("verdict", True, loss))
    return Judgement(tuple(checks), _hardest(comparisons).figures)


def _own_checks(
    settings: Promotion, challenger: Candidate, unusable: int, served: bool
) -> list[Check]:
    """Return the conditions on the challenger alone."""
    source = challenger.data_source
    allowed = settings.allow_synthetic and source == "synthetic"
    checks = [
        Check("prices", not is_synthetic(source) or allowed, f"prices are {source}"),
        Check(
            "networks",
            unusable == 0,
            f"{unusable} live networks are unusable" if unusable else "networks are usable",
        ),
        Check(
            "served",
            served,
            "it is served as trained"
            if served
            else "the registered model forecasts something else than the run did",
        ),
    ]
    if settings.require_skill:
        skilled = challenger.verdict == SKILL
        checks.append(Check("skill", skilled, f"verdict is {challenger.verdict}"))
    return checks


def _newer(challenger: Candidate, champion: Candidate) -> Check:
    champions = f"version {champion.version}"
    if challenger.data_last < champion.data_last:
        return Check(
            "newer",
            False,
            f"prices end on {challenger.data_last}, those of {champions} on {champion.data_last}",
        )
    same_config = challenger.config_hash == champion.config_hash
    if same_config and challenger.data_sha256 == champion.data_sha256:
        return Check("newer", False, f"{champions} has learned from the same prices")
    return Check("newer", True, f"prices reach {challenger.data_last}")


def _not_worse_than_champion(comparison: Comparison, champion: Candidate) -> Check:
    facts = comparison.facts
    if not comparison.comparable:
        facts += (
            f" (if version {champion.version} should not be the champion, remove its alias "
            "champion in MLflow and retrain)"
        )
    return Check("not worse", comparison.passed, facts)


def _not_worse_than_earlier(comparisons: Sequence[Comparison], deleted: int) -> list[Check]:
    """Return the conditions on earlier champions; one that cannot be compared refuses nothing."""
    checks = [
        Check("not worse", comparison.passed or not comparison.comparable, comparison.facts)
        for comparison in comparisons
    ]
    if deleted:
        facts = f"runs of earlier champions were deleted: {deleted}"
        checks.append(Check("not worse", True, facts))
    return checks


def _compare(margin: float, challenger: Candidate, rival: Candidate) -> Comparison:
    """Compare two versions if they can be, by their losses if their configurations differ."""
    calls = challenger.calls()
    rival_calls = rival.calls()
    if calls is None or rival_calls is None:
        unread = challenger if calls is None else rival
        facts = f"the calls of version {unread.version} are missing or damaged"
        return Comparison(facts, comparable=False)
    days = calls.index.intersection(rival_calls.index)
    calls = calls.loc[days]
    rival_calls = rival_calls.loc[days]
    name = f"version {rival.version}"
    agreeing = _agreeing(calls, rival_calls)
    if agreeing < MOST:
        facts = f"its returns agree with those of {name} on {agreeing:.0%} of {len(days)} days"
        return Comparison(f"{facts}: other prices", comparable=False)
    if len(days) and challenger.config_hash == rival.config_hash:
        return Comparison(f"same configuration as {name}", passed=True)
    if len(days) < FEWEST_DAYS:
        facts = f"{len(days)} days in common with {name}, {FEWEST_DAYS} needed"
        return Comparison(facts, comparable=False, figures={"days": float(len(days))})
    return _compare_losses(margin, calls, rival_calls, name)


def _agreeing(calls: pd.DataFrame, rival_calls: pd.DataFrame) -> float:
    """Return the share of the days on which the returns are the same; NaN without any day."""
    difference = calls["next_return"] - rival_calls["next_return"]
    return float((difference.abs() <= AGREE).mean())


def _compare_losses(
    margin: float, calls: pd.DataFrame, rival_calls: pd.DataFrame, name: str
) -> Comparison:
    """Test whether the challenger loses less than the margin; both tables are of the same days."""
    loss = _log_losses(calls)
    rival_loss = _log_losses(rival_calls)
    days = len(loss)
    figures = {
        "days": float(days),
        "loss": float(loss.mean()),
        "champion_loss": float(rival_loss.mean()),
    }
    facts = (
        f"log loss {figures['loss']:.4f} against {figures['champion_loss']:.4f} of {name}, "
        f"of another configuration, on {days} days"
    )
    test = diebold_mariano(loss, rival_loss + margin)
    if test is None:  # each day's loss differs by the same amount
        passed = figures["loss"] < figures["champion_loss"] + margin
        return Comparison(f"{facts}, without any difference", passed, figures=figures)
    pvalue = test.pvalue / 2 if test.statistic < 0 else 1 - test.pvalue / 2
    figures |= {"dm_statistic": test.statistic, "dm_pvalue": pvalue}
    passed = pvalue <= ALPHA
    shown = "is shown" if passed else "is not shown"
    facts += f"; that it loses less than {margin:g} {shown} (p {pvalue:.3f})"
    return Comparison(facts, passed, figures=figures)


def _log_losses(calls: pd.DataFrame) -> Array:
    return log_losses(calls["up"].to_numpy(), calls["probability"].to_numpy())


def _hardest(comparisons: Sequence[Comparison]) -> Comparison:
    """Return the comparison that is the hardest to pass: that of the largest p-value."""
    return max(comparisons, key=lambda comparison: comparison.figures.get("dm_pvalue", -1.0))

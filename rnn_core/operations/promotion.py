"""Promotion: the one place that decides whether a retrained model replaces the champion."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

import pandas as pd

from rnn_core.config import Promotion
from rnn_core.data.prices import is_synthetic
from rnn_core.evaluation.significance import ALPHA, diebold_mariano
from rnn_core.evaluation.verdict import SKILL


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
        losses: returns the log loss, in nats, of each day of its walk-forward, by date.
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
    losses: Callable[[], "pd.Series[float]"]


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
        figures: the comparison with a champion of another configuration, by name: `days`, `loss`,
            `champion_loss` and, if defined, `dm_statistic` and `dm_pvalue` (one-sided: that the
            challenger is worse).
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


def judge(
    settings: Promotion,
    challenger: Candidate,
    champion: Candidate | None,
    *,
    unusable: int,
    served: bool,
) -> Judgement:
    """Decide whether a newly registered challenger becomes champion.

    1. Its prices are real (or synthetic ones are allowed); all its live networks are usable; it is
       served as it was trained; its verdict is `skill`, if that is required.
    2. It has learned from prices that the champion has not seen, and not from older ones.
    3. If its configuration is not the champion's, it is not significantly worse on the days that
       both have forecast: Diebold–Mariano on log loss, one-sided at 5 %. Equal losses, or no day
       in common, are not worse.

    Args:
        settings: what is required and allowed.
        challenger: the new model.
        champion: the present one, if any.
        unusable: number of live networks that turned non-finite.
        served: True if the registered model loads and forecasts, bit for bit, as the run did.

    >>> losses = lambda: pd.Series([0.69])
    >>> first = Candidate(
    ...     version=1, run_id="a", config_hash="c", exchange="XNYS", data_source="yahoo",
    ...     data_sha256="d", data_last=date(2013, 2, 28), verdict="skill", scores={}, losses=losses,
    ... )
    >>> judge(Promotion(), first, None, unusable=0, served=True).promoted
    True
    >>> judge(Promotion(), first, first, unusable=0, served=True).reason
    'version 1 has learned from the same prices'
    """
    checks = _own_checks(settings, challenger, unusable, served)
    if champion is None:
        return Judgement((*checks, Check("newer", True, "there is no champion yet")))
    newer = _newer(challenger, champion)
    not_worse, figures = _not_worse(challenger, champion)
    return Judgement((*checks, newer, not_worse), figures)


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


def _not_worse(challenger: Candidate, champion: Candidate) -> tuple[Check, dict[str, float]]:
    """Compare the log losses on the days that both have forecast, by the one-sided test."""
    name = "not worse"
    if challenger.config_hash == champion.config_hash:
        return Check(name, True, f"same configuration as version {champion.version}"), {}
    rival = f"version {champion.version}, of another configuration"
    both = pd.concat(
        {"loss": challenger.losses(), "champion_loss": champion.losses()}, axis=1, join="inner"
    )
    if both.empty:
        return Check(name, True, f"no day in common with {rival}"), {"days": 0}
    figures = {"days": float(len(both)), **both.mean()}
    losses = f"{figures['loss']:.4f} against {figures['champion_loss']:.4f}"
    compared = f"log loss {losses} of {rival}, on {len(both)} days"
    test = diebold_mariano(both["loss"].to_numpy(), both["champion_loss"].to_numpy())
    if test is None:
        return Check(name, True, f"{compared}, without any difference"), figures
    pvalue = test.pvalue / 2 if test.statistic > 0 else 1 - test.pvalue / 2
    figures |= {"dm_statistic": test.statistic, "dm_pvalue": pvalue}
    return Check(name, pvalue > ALPHA, f"{compared} (p {pvalue:.3f})"), figures

"""Promotion: the one place that decides whether a retrained model replaces the champion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from rnn_core.config import Promotion
from rnn_core.data.prices import is_synthetic
from rnn_core.evaluation.metrics import log_losses
from rnn_core.evaluation.significance import diebold_mariano
from rnn_core.evaluation.verdict import SKILL

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
            `probability`, `up` and `next_return` are needed.
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
    calls: Callable[[], pd.DataFrame]


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
        figures: the comparison with the best champion of another configuration, by name: `days`,
            `loss`, `champion_loss` and, if defined, `dm_statistic` and `dm_pvalue` (one-sided: that
            the challenger loses more than the margin).
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
    earlier: Sequence[Candidate] = (),
    *,
    unusable: int,
    served: bool,
) -> Judgement:
    """Decide whether a newly registered challenger becomes champion.

    1. Its prices are real (or synthetic ones are allowed); all its live networks are usable; it is
       served as it was trained; its verdict is `skill`, if that is required.
    2. It has learned from prices that the champion has not seen, and not from older ones.
    3. It is the champion's configuration on the same prices, with newer days. Or it is shown to
       lose at most `settings.margin` in mean log loss against the champion and each earlier one of
       another configuration, so also against the best so far: Diebold–Mariano on the losses less
       the margin, one-sided at 1 %, on at least `FEWEST_DAYS` days that both have forecast.

    A champion with skill can be replaced by less, and then the reason says so.

    Args:
        settings: what is required and allowed.
        challenger: the new model.
        champion: the present one, if any.
        earlier: other champions in force, the latest of each other configuration.
        unusable: number of live networks that turned non-finite.
        served: True if the registered model loads and forecasts, bit for bit, as the run did.

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
        return Judgement((*checks, Check("newer", True, "there is no champion yet")))
    checks.append(_newer(challenger, champion))
    rivals = [champion, *earlier]
    compared = [_compared(settings.margin, challenger, rival) for rival in rivals]
    checks += [check for check, _ in compared]
    if champion.verdict == SKILL and challenger.verdict != SKILL:
        loss = f"skill of version {champion.version} is replaced by {challenger.verdict}"
        checks.append(Check("verdict", True, loss))
    return Judgement(tuple(checks), _of_the_best(compared))


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


def _compared(
    margin: float, challenger: Candidate, champion: Candidate
) -> tuple[Check, dict[str, float]]:
    """Compare the log losses on the days that both have forecast."""
    name = "not worse"
    mine, theirs = challenger.calls(), champion.calls()
    days = mine.index.intersection(theirs.index)
    rival = f"version {champion.version}"
    agree = np.abs(mine["next_return"][days] - theirs["next_return"][days]) <= AGREE
    if len(days) and agree.mean() < MOST:
        facts = f"its returns agree with those of {rival} on {agree.mean():.0%} of {len(days)} days"
        return Check(name, False, f"{facts}: other prices"), {}
    if len(days) and challenger.config_hash == champion.config_hash:
        return Check(name, True, f"same configuration as {rival}"), {}
    figures = {"days": float(len(days))}
    if len(days) < FEWEST_DAYS:
        facts = f"{len(days)} days in common with {rival}, {FEWEST_DAYS} needed"
        return Check(name, False, facts), figures
    loss, champion_loss = (
        log_losses(calls["up"][days].to_numpy(), calls["probability"][days].to_numpy())
        for calls in (mine, theirs)
    )
    figures |= {"loss": float(loss.mean()), "champion_loss": float(champion_loss.mean())}
    facts = (
        f"log loss {figures['loss']:.4f} against {figures['champion_loss']:.4f} of {rival}, "
        f"of another configuration, on {len(days)} days"
    )
    test = diebold_mariano(loss, champion_loss + margin)
    if test is None:  # each day's loss differs by the same amount
        holds = figures["loss"] < figures["champion_loss"] + margin
        return Check(name, holds, f"{facts}, without any difference"), figures
    pvalue = test.pvalue / 2 if test.statistic < 0 else 1 - test.pvalue / 2
    figures |= {"dm_statistic": test.statistic, "dm_pvalue": pvalue}
    shown = "is shown" if pvalue <= ALPHA else "is not shown"
    facts += f"; that it loses less than {margin:g} {shown} (p {pvalue:.3f})"
    return Check(name, pvalue <= ALPHA, facts), figures


def _of_the_best(compared: Sequence[tuple[Check, dict[str, float]]]) -> dict[str, float]:
    """Return the figures of the comparison that is the hardest to pass, empty if there is none."""
    return max((figures for _, figures in compared), key=lambda f: f.get("dm_pvalue", -1.0))

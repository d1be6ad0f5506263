"""The gate: whether a retrained model takes the champion's place. Nowhere else is that decided."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

import pandas as pd

from rnn_core.config import Promotion
from rnn_core.data.prices import is_synthetic
from rnn_core.evaluation.significance import ALPHA, diebold_mariano


@dataclass(frozen=True)
class Candidate:
    """A registered model and what is known of it.

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
        losses: gives the log loss, in nats, of each day of its walk-forward, by date.
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
    """One condition: whether it holds, and a clause that says what was found."""

    name: str
    holds: bool
    found: str


@dataclass(frozen=True)
class Judgement:
    """Whether the challenger becomes champion, by which conditions.

    Attributes:
        checks: every condition that was asked.
        figures: the comparison with a champion of another configuration, by name: `days`, `loss`, `champion_loss` and,
            where defined, `dm_statistic` and `dm_pvalue` (one-sided: that the challenger is worse).
    """

    checks: tuple[Check, ...]
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def promoted(self) -> bool:
        """Whether every condition holds."""
        return all(check.holds for check in self.checks)

    @property
    def reason(self) -> str:
        """What was found, in one sentence: what stands against it, else everything."""
        against = [check for check in self.checks if not check.holds]
        return "; ".join(check.found for check in against or self.checks)


def judge(
    settings: Promotion,
    challenger: Candidate,
    champion: Candidate | None,
    *,
    unusable: int,
    served: bool,
) -> Judgement:
    """Judge a challenger that has just been registered.

    `unusable` counts the live networks that turned non-finite; `served` says whether the registered model loads and
    forecasts, bit for bit, what the run itself did. There may be no champion yet.

    1. Its prices are real (or synthetic ones are allowed); all live networks are usable; it is served as it was
       trained; its verdict is `skill`, if that is required.
    2. It has learned from prices that the champion has not seen, and not from older ones.
    3. Of another configuration than the champion's, it is not significantly worse on the days that both have
       forecast: Diebold–Mariano on log loss, one-sided at 5 %. Equal losses, or no such day, are not worse.
    """
    real = not is_synthetic(challenger.data_source)
    checks = [
        Check(
            "prices",
            real or (settings.allow_synthetic and challenger.data_source == "synthetic"),
            f"prices are {challenger.data_source}",
        ),
        Check(
            "networks",
            unusable == 0,
            f"{unusable} live networks are unusable" if unusable else "networks are usable",
        ),
        Check(
            "served",
            served,
            "it is served as trained" if served else "the registered model forecasts otherwise",
        ),
    ]
    if settings.require_skill:
        checks.append(
            Check("skill", challenger.verdict == "skill", f"verdict is {challenger.verdict}")
        )
    if champion is None:
        return Judgement((*checks, Check("newer", True, "there is no champion yet")))
    checks.append(_newer(challenger, champion))
    if challenger.config_hash == champion.config_hash:
        return Judgement(
            (*checks, Check("not worse", True, f"same configuration as version {champion.version}"))
        )
    not_worse, figures = _not_worse(challenger, champion)
    return Judgement((*checks, not_worse), figures)


def _newer(challenger: Candidate, champion: Candidate) -> Check:
    first, last = champion.data_last, challenger.data_last
    if last < first:
        return Check(
            "newer", False, f"prices end on {last}, those of version {champion.version} on {first}"
        )
    same = (
        challenger.config_hash == champion.config_hash
        and challenger.data_sha256 == champion.data_sha256
    )
    found = (
        f"version {champion.version} has learned from the same prices"
        if same
        else f"prices reach {last}"
    )
    return Check("newer", not same, found)


def _not_worse(challenger: Candidate, champion: Candidate) -> tuple[Check, dict[str, float]]:
    other = f"version {champion.version}, of another configuration"
    both = pd.concat(
        [challenger.losses(), champion.losses()],
        axis=1,
        join="inner",
        keys=["loss", "champion_loss"],
    )
    if both.empty:
        return Check("not worse", True, f"no day in common with {other}"), {"days": 0}
    figures = {"days": float(len(both)), **both.mean()}
    test = diebold_mariano(both["loss"].to_numpy(), both["champion_loss"].to_numpy())
    if test is not None:
        worse = test.pvalue / 2 if test.statistic > 0 else 1 - test.pvalue / 2
        figures |= {"dm_statistic": test.statistic, "dm_pvalue": worse}
    found = f"log loss {figures['loss']:.4f} against {figures['champion_loss']:.4f} of {other}, on {len(both)} days"
    found += f" (p {figures['dm_pvalue']:.3f})" if test is not None else ", without any difference"
    return Check("not worse", figures.get("dm_pvalue", 1.0) > ALPHA, found), figures

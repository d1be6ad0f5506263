"""The verdict on a run: skill, no evidence of skill, or inconclusive."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Final, Literal, NamedTuple, TypeAlias

from rnn_core.errors import ConfigError
from rnn_core.evaluation.metrics import CHANCE, COIN_TOSS, wilson_interval
from rnn_core.evaluation.significance import ALPHA, POWER, days_needed, detectable_accuracy
from rnn_core.evaluation.spending import Look

DETECTABLE = 0.55  # the accuracy that a test period must be long enough to show
Tag: TypeAlias = Literal["skill", "inconclusive", "no evidence of skill"]
SKILL: Final = "skill"
INCONCLUSIVE: Final = "inconclusive"
NO_EVIDENCE: Final = "no evidence of skill"


class Measured(NamedTuple):
    """In how many series the rule found a direction that persists with probability 0.55."""

    days: int
    found: int
    series: int


MEASURED = (Measured(637, 24, 100), Measured(1187, 46, 100), Measured(2687, 74, 100))
"""By test days, for the default network: `python -m benchmarks honesty`, the rows `weak`."""


@dataclass(frozen=True)
class Showing:
    """How a forecast did on the test days.

    Attributes:
        pvalue: one-sided p of its forecasts telling the direction, given the base rate of each
            fold; None if undefined.
        hits: number of right calls.
        log_loss: mean, in nats.
    """

    pvalue: float | None
    hits: int
    log_loss: float


@dataclass(frozen=True)
class Worth:
    """The economic worth of an account that trades on the calls.

    Attributes:
        cost: of trading, in basis points.
        break_even: the cost at which nothing was earned, in basis points; None if undefined.
        timing_pvalue: one-sided p of having earned more than a constant position of the same mean
            size; None if undefined.
    """

    cost: float
    break_even: float | None
    timing_pvalue: float | None

    @property
    def shortfall(self) -> str:
        """Why this is no account to trade; empty if it is one."""
        if self.break_even is None or self.break_even < self.cost:
            return f"not tradable at {self.cost:g} bp"
        if self.timing_pvalue is None or self.timing_pvalue > ALPHA:
            return f"not shown to be tradable at {self.cost:g} bp"
        return ""


@dataclass(frozen=True)
class Verdict:
    """The judgement of a run, its reason, and the numbers that decided.

    Attributes:
        tag: `skill`, `inconclusive` or `no evidence of skill`.
        headline: the tag with what it must not be read without.
        reason: one sentence.
        power: what the test days could have shown, one sentence.
        lowest: who had the lowest mean log loss: `network`, `coin toss`, or a baseline by name.
        inputs: {name: number} that decided, without the undefined ones: `days`, `days_needed`,
            `detectable_accuracy`, `measured_power`, `trials`, `level`, `conditional_pvalue`,
            `conditional_pvalue_adjusted`, `log_loss`, `log_loss_majority`.
    """

    tag: Tag
    headline: str
    reason: str
    power: str
    lowest: str
    inputs: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.headline}: {self.reason}"


def verdict(
    network: Showing,
    baselines: Mapping[str, Showing],
    days: int,
    look: Look,
    worth: Worth,
) -> Verdict:
    """Judge a run, the only place where this is done.

    1. `skill`: p is at most the level of the look, and the log loss is below the training base
       rate's and below ln 2. An undefined p or log loss is no skill.
    2. `inconclusive`: fewer test days than would show an accuracy of 55 % with 80 % power, 616.
    3. `no evidence of skill`: all else.

    The first that applies is taken. A finding is not taken back for a short test period: the test's
    size holds for any number of days.

    Skill in direction is not yet money, nor is it the network's alone. The headline says so if the
    account did not earn its cost or has not been shown to, and if a baseline passes the same rule
    and is more accurate. Without skill it says if the accuracy is below that of a coin.

    Args:
        network: how the served probability did.
        baselines: how the baselines did, by name; `majority` is the training base rate.
        days: number of test days.
        look: which question about these days this is, and so at what level it is judged.
        worth: of the account that trades on the calls.

    Raises:
        ConfigError: no baseline `majority`.

    >>> base_rate = Showing(pvalue=None, hits=620, log_loss=0.692)
    >>> earned = Worth(cost=5, break_even=9, timing_pvalue=0.01)
    >>> from rnn_core.evaluation.spending import nth_look
    >>> first, ninth = nth_look(1), nth_look(9)
    >>> network = Showing(pvalue=0.01, hits=640, log_loss=0.690)
    >>> verdict(network, {"majority": base_rate}, days=1200, look=first, worth=earned).headline
    'skill'
    >>> costly = Worth(cost=5, break_even=3, timing_pvalue=0.2)
    >>> verdict(network, {"majority": base_rate}, days=1200, look=first, worth=costly).headline
    'skill in direction, not tradable at 5 bp'
    >>> verdict(network, {"majority": base_rate}, days=1200, look=ninth, worth=earned).headline
    'no evidence of skill'
    """
    if "majority" not in baselines:
        raise ConfigError(
            "baselines must include majority, the training base rate "
            f"(got {', '.join(baselines) or 'none'})"
        )
    base_loss = baselines["majority"].log_loss
    enough = days_needed(DETECTABLE) or 0
    adjusted = None if network.pvalue is None else look.adjusted(network.pvalue)
    losses = {name: showing.log_loss for name, showing in baselines.items()}
    lowest = _lowest({"network": network.log_loss, "coin toss": COIN_TOSS, **losses})
    evidence = _evidence(network, base_loss, look)
    measured = _measured(days)
    tag: Tag
    if _passes(network, base_loss, look):
        skilled = [name for name, showing in baselines.items() if _passes(showing, base_loss, look)]
        better = [name for name in skilled if baselines[name].hits > network.hits]
        tag = SKILL
        headline = _skill_headline(better, worth)
        caveats = _caveats(network, baselines, skilled, lowest, days)
        reason = f"{evidence}, over {days} test days{caveats}"
    elif days < enough:
        tag = INCONCLUSIVE
        headline = tag + _worse_than_chance(network, days)
        reason = f"{days} test days, {enough} needed; {evidence}"
    else:
        tag = NO_EVIDENCE
        headline = tag + _worse_than_chance(network, days)
        reason = f"{evidence}, over {days} test days"
    inputs = {
        "days": days,
        "days_needed": enough,
        "detectable_accuracy": detectable_accuracy(days, alpha=look.level),
        "measured_power": measured.found / measured.series,
        "trials": look.number,
        "level": look.level,
        "conditional_pvalue": network.pvalue,
        "conditional_pvalue_adjusted": adjusted,
        "log_loss": network.log_loss,
        "log_loss_majority": base_loss,
    }
    return Verdict(tag, headline, reason, _power(days, measured, look), lowest, _defined(inputs))


def _passes(showing: Showing, base_loss: float, look: Look) -> bool:
    if showing.pvalue is None or showing.pvalue > look.level:
        return False
    return showing.log_loss < min(base_loss, COIN_TOSS)


def _skill_headline(better: list[str], worth: Worth) -> str:
    claim = "skill in direction" if worth.shortfall else "skill"
    shared = f"and so {'have' if len(better) > 1 else 'has'} {' and '.join(better)}"
    return ", ".join(filter(None, [claim, shared if better else "", worth.shortfall]))


def _worse_than_chance(network: Showing, days: int) -> str:
    _, high = wilson_interval(network.hits, days)
    return ", worse than chance" if high < CHANCE else ""


def _lowest(losses: Mapping[str, float]) -> str:
    finite = {name: loss for name, loss in losses.items() if isfinite(loss)}
    return min(finite, key=finite.__getitem__)


def _evidence(network: Showing, base_loss: float, look: Look) -> str:
    direction = (
        "undefined (forecasts or outcomes do not vary within a fold)"
        if network.pvalue is None
        else f"{network.pvalue:.3g} given the base rate"
    )
    return (
        f"direction p {direction} ({look}), log loss {network.log_loss:.4f} against "
        f"{base_loss:.4f} of the base rate and {COIN_TOSS:.4f} of a coin"
    )


def _caveats(
    network: Showing,
    baselines: Mapping[str, Showing],
    skilled: list[str],
    lowest: str,
    days: int,
) -> str:
    """Return what a baseline has too or has better than the network."""
    caveats = ""
    if lowest != "network":
        loss = baselines[lowest].log_loss
        caveats += f"; but the baseline {lowest} has a lower log loss, {loss:.4f}"
    if skilled:
        caveats += f"; {' and '.join(skilled)} {'passes' if len(skilled) == 1 else 'pass'} too"
    majority = baselines["majority"].hits
    if majority > network.hits:
        caveats += (
            f"; always calling the majority class is right on {majority / days:.1%}, "
            f"the network on {network.hits / days:.1%}"
        )
    return caveats


def _measured(days: int) -> Measured:
    """Return the measurement at the most test days that are not more than `days`, or the first."""
    return max((row for row in MEASURED if row.days <= days), default=MEASURED[0])


def _power(days: int, measured: Measured, look: Look) -> str:
    accuracy = detectable_accuracy(days, alpha=look.level)
    oracle = (
        f"an oracle of {accuracy:.1%} accuracy is found with {POWER:.0%} power"
        if accuracy is not None
        else "not even an oracle would be found"
    )
    return (
        f"in {days} test days {oracle}; a network that must learn a direction of "
        f"{DETECTABLE:.0%} was found in {measured.found} of {measured.series} series "
        f"of {measured.days} days"
    )


def _defined(inputs: Mapping[str, float | None]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in inputs.items()
        if value is not None and isfinite(value)
    }

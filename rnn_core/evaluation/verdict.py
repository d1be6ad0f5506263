"""The verdict on a run: skill, no evidence of skill, or inconclusive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Final, Literal, TypeAlias

from rnn_core.errors import ConfigError
from rnn_core.evaluation.metrics import COIN_TOSS
from rnn_core.evaluation.significance import ALPHA, adjust, days_needed

DETECTABLE = 0.55  # the accuracy that a test period must be long enough to show
Tag: TypeAlias = Literal["skill", "inconclusive", "no evidence of skill"]
SKILL: Final = "skill"
INCONCLUSIVE: Final = "inconclusive"
NO_EVIDENCE: Final = "no evidence of skill"


@dataclass(frozen=True)
class Verdict:
    """The judgement of a run, its reason, and the numbers that decided.

    Attributes:
        tag: `skill`, `inconclusive` or `no evidence of skill`.
        reason: one sentence.
        lowest: who had the lowest mean log loss: `network`, `coin toss`, or a baseline by name.
        inputs: {name: number} that decided, without the undefined ones: `days`, `days_needed`,
            `trials`, `pt_pvalue`, `pt_pvalue_adjusted`, `log_loss`, `log_loss_majority`.
    """

    tag: Tag
    reason: str
    lowest: str
    inputs: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.tag}: {self.reason}"


def verdict(
    pvalue: float | None,
    trials: int,
    days: int,
    log_loss: float,
    baselines: Mapping[str, float],
    skilled: Sequence[str] = (),
) -> Verdict:
    """Judge a run, the only place where this is done.

    1. `skill`: p, adjusted for the trials, is at most 0.05, and the log loss is below the training
       base rate's and below ln 2. An undefined p or log loss is no skill.
    2. `inconclusive`: fewer test days than would show an accuracy of 55 % with 80 % power, 616.
    3. `no evidence of skill`: all else.

    The first that applies is taken. The number of days says how much the absence of a finding
    means. A finding is not taken back for a short test period: the test's size holds for any
    number of days.

    Args:
        pvalue: one-sided Pesaran–Timmermann p-value of the sign of the served probability − ½; None
            if undefined.
        trials: distinct configurations tried on these days, this one included.
        days: number of test days.
        log_loss: mean log loss of the served probability, in nats.
        baselines: mean log losses of the baselines by name; `majority` is the training base rate.
        skilled: baselines whose own calls pass the test of direction, which the reason mentions.

    Raises:
        ConfigError: fewer than one trial, or no baseline `majority`.

    >>> verdict(0.01, 1, 700, 0.690, {"majority": 0.692}).tag
    'skill'
    >>> verdict(0.01, 9, 700, 0.690, {"majority": 0.692}).tag
    'no evidence of skill'
    """
    if "majority" not in baselines:
        raise ConfigError(
            "baselines must include majority, the training base rate "
            f"(got {', '.join(baselines) or 'none'})"
        )
    adjusted = None if pvalue is None else adjust(pvalue, trials)
    enough = days_needed(DETECTABLE) or 0
    base_loss = baselines["majority"]
    significant = adjusted is not None and adjusted <= ALPHA
    informed = log_loss < min(base_loss, COIN_TOSS)
    losses = {"network": log_loss, "coin toss": COIN_TOSS, **baselines}
    lowest = _lowest(losses)
    evidence = _evidence(adjusted, trials, log_loss, base_loss)
    tag: Tag
    if significant and informed:
        tag = SKILL
        reason = f"{evidence}, over {days} test days{_caveat(losses, lowest, skilled)}"
    elif days < enough:
        tag = INCONCLUSIVE
        reason = f"{days} test days, {enough} needed; {evidence}"
    else:
        tag = NO_EVIDENCE
        reason = f"{evidence}, over {days} test days"
    inputs = {
        "days": days,
        "days_needed": enough,
        "trials": trials,
        "pt_pvalue": pvalue,
        "pt_pvalue_adjusted": adjusted,
        "log_loss": log_loss,
        "log_loss_majority": base_loss,
    }
    return Verdict(tag, reason, lowest, _defined(inputs))


def _lowest(losses: Mapping[str, float]) -> str:
    finite = {name: loss for name, loss in losses.items() if isfinite(loss)}
    return min(finite, key=finite.__getitem__)


def _evidence(adjusted: float | None, trials: int, log_loss: float, base_loss: float) -> str:
    if adjusted is None:
        direction = "direction p undefined (calls or outcomes do not vary)"
    else:
        after = f" after {trials} trials" if trials > 1 else ""
        direction = f"direction p {adjusted:.3g}{after}"
    return (
        f"{direction}, log loss {log_loss:.4f} against {base_loss:.4f} of the base rate "
        f"and {COIN_TOSS:.4f} of a coin"
    )


def _caveat(losses: Mapping[str, float], lowest: str, skilled: Sequence[str]) -> str:
    """Return what a baseline has too or has better than the network."""
    caveat = ""
    if lowest != "network":
        caveat += f"; but the baseline {lowest} has a lower log loss, {losses[lowest]:.4f}"
    if skilled:
        caveat += f"; the calls of {' and '.join(skilled)} pass the same test of direction"
    return caveat


def _defined(inputs: Mapping[str, float | None]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in inputs.items()
        if value is not None and isfinite(value)
    }

"""The verdict on a run: skill, no evidence of skill, or inconclusive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, log
from typing import Literal

from rnn_core.errors import ConfigError
from rnn_core.evaluation.significance import ALPHA, adjust, days_needed

COIN_TOSS = log(2)  # the log loss of p = ½, in nats
DETECTABLE = 0.55  # the accuracy that a test period must be long enough to show
Tag = Literal["skill", "inconclusive", "no evidence of skill"]


@dataclass(frozen=True)
class Verdict:
    """What may be said of a run, why, and what it was judged by.

    Attributes:
        tag: `skill`, `inconclusive` or `no evidence of skill`.
        reason: one sentence.
        lowest: who had the lowest mean log loss: `network`, `coin toss`, or a baseline by name.
        inputs: {name: number} that decided, the undefined ones left out: `days`, `days_needed`, `trials`, `pt_pvalue`,
            `pt_pvalue_adjusted`, `log_loss`, `log_loss_majority`.
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
    """The one place where a run is judged.

    `pvalue` is the one-sided Pesaran–Timmermann one of the sign of the served probability − ½, None where undefined;
    `trials` the distinct configurations tried on these days; `log_loss` the mean one of the served probability, and
    `baselines` those of the baselines by name, all in nats; `majority` is that of the training base rate. `skilled`
    names the baselines whose own calls pass the test of direction: skill that they have too is said to be so.

    1. `skill`: p, adjusted for the trials, is at most 0.05, and the log loss is below the training base rate's and
       below ln 2. An undefined p or log loss is no skill.
    2. `inconclusive`: fewer test days than would show an accuracy of 55 % with 80 % power, 616.
    3. `no evidence of skill`: all else.

    They are asked in this order. The number of days says what the absence of a finding is worth; where there is a
    finding the test's size has held whatever the number of days, so a short test period does not take it back.

    Raises:
        ConfigError: fewer than one trial, or no baseline `majority`.
    """
    if "majority" not in baselines:
        raise ConfigError(
            f"baselines {', '.join(baselines) or 'none'}: majority, the training base rate, is needed"
        )
    adjusted = None if pvalue is None else adjust(pvalue, trials)
    found = adjusted is not None and adjusted <= ALPHA
    informed = log_loss < min(baselines["majority"], COIN_TOSS)
    enough = days_needed(DETECTABLE) or 0
    rivals = {"network": log_loss, "coin toss": COIN_TOSS, **baselines}
    losses = {name: loss for name, loss in rivals.items() if isfinite(loss)}
    lowest = min(losses, key=losses.__getitem__, default="none")
    tag: Tag = (
        "skill"
        if found and informed
        else "inconclusive"
        if days < enough
        else "no evidence of skill"
    )
    reason = _reason(tag, adjusted, trials, log_loss, baselines["majority"], days, enough)
    if tag == "skill" and lowest != "network":
        reason += f"; but the baseline {lowest} has a lower log loss, {losses[lowest]:.4f}"
    if tag == "skill" and skilled:
        reason += f"; the calls of {' and '.join(skilled)} pass the same test of direction"
    inputs = {
        "days": days,
        "days_needed": enough,
        "trials": trials,
        "pt_pvalue": pvalue,
        "pt_pvalue_adjusted": adjusted,
        "log_loss": log_loss,
        "log_loss_majority": baselines["majority"],
    }
    known = {
        name: float(value)
        for name, value in inputs.items()
        if value is not None and isfinite(value)
    }
    return Verdict(tag, reason, lowest, known)


def _reason(
    tag: Tag,
    adjusted: float | None,
    trials: int,
    log_loss: float,
    majority: float,
    days: int,
    enough: int,
) -> str:
    direction = "direction p undefined (calls or outcomes do not vary)"
    if adjusted is not None:
        direction = f"direction p {adjusted:.3g}" + (
            f" after {trials} trials" if trials > 1 else ""
        )
    text = f"{direction}, log loss {log_loss:.4f} against {majority:.4f} of the base rate and {COIN_TOSS:.4f} of a coin"
    return (
        f"{days} test days, {enough} needed; {text}"
        if tag == "inconclusive"
        else f"{text}, over {days} test days"
    )

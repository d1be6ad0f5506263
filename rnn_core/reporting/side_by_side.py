"""Two runs side by side: a self-contained HTML page, and the rows of its tables."""

from collections.abc import Mapping
from dataclasses import dataclass

from rnn_core.evaluation.comparison import (
    LEVEL,
    NO_DIFFERENCE,
    OTHER_QUESTION,
    SAME_RETURN,
    TOO_FEW,
    VOLATILITY_DAYS,
    Comparison,
    Difference,
    Mean,
)
from rnn_core.evaluation.verdict import INCONCLUSIVE, NO_EVIDENCE, SKILL
from rnn_core.identity import differing
from rnn_core.reporting.figures import (
    cumulative_difference,
    rendered,
    two_reliability_curves,
)
from rnn_core.reporting.report import COLOURS, data_uri, render

CONFIDENCE = f"{1 - LEVEL:.0%}"
CAPTIONS = {
    "reliability.png": "Frequency of up by forecast probability, with 95 % intervals, of A and B.",
    "cumulative.png": "The log loss of A less that of B, summed; where it falls, A is better.",
}


@dataclass(frozen=True)
class Side:
    """What is known about one of the two runs.

    Attributes:
        title: what the run is, such as `retrain-AAPL, version 3`.
        run_id: its id.
        settings: its flattened settings, as texts.
        facts: what else may explain a difference: data, versions, engine, by name.
    """

    title: str
    run_id: str
    settings: Mapping[str, str]
    facts: Mapping[str, str]


Rows = list[dict[str, str]]


def comparison_page(a: Side, b: Side, comparison: Comparison, images: Mapping[str, bytes]) -> str:
    """Return the page of a comparison, as HTML; `images` are its figures as PNG, by file name."""
    days = comparison.calls.index
    return render(
        "side_by_side.html",
        sides={"A": a, "B": b},
        colour=_colour(comparison),
        comparison=comparison,
        first=f"{days[0]:%Y-%m-%d}",
        last=f"{days[-1]:%Y-%m-%d}",
        settings=settings_rows(a, b),
        facts=facts_rows(a, b, comparison),
        losses=loss_rows(comparison),
        accuracy=accuracy_rows(comparison),
        confidence=CONFIDENCE,
        volatility_days=VOLATILITY_DAYS,
        figures=[(CAPTIONS[name], data_uri(image)) for name, image in images.items()],
    )


def comparison_figures(comparison: Comparison) -> dict[str, bytes]:
    """Return the figures of a comparison as PNG, by file name."""
    return rendered(
        {
            "reliability.png": two_reliability_curves(comparison.calls, "A and B"),
            "cumulative.png": cumulative_difference(comparison.calls, "A and B"),
        }
    )


def settings_rows(a: Side, b: Side) -> Rows:
    """Return a row for each setting that differs; an empty one is a dash."""
    return _pairs("setting", differing(a.settings, b.settings))


def facts_rows(a: Side, b: Side, comparison: Comparison) -> Rows:
    """Return a row for everything else that differs and may matter."""
    rows = _pairs("what", differing(a.facts, b.facts))
    if comparison.return_gap > SAME_RETURN:
        gap = f"differ by up to {comparison.return_gap:.2%}"
        rows.append({"what": "returns of the same days", "A": "", "B": gap})
    if comparison.other_outcomes:
        days = f"differ on {comparison.other_outcomes} of {comparison.overall.days}"
        rows.append({"what": "outcomes of the same days", "A": "", "B": days})
    return rows


def loss_rows(comparison: Comparison) -> Rows:
    """Return a row for all common days, each year and each tercile of volatility: log losses."""
    return [
        {
            "log loss": name,
            "days": f"{difference.days}",
            "A − B": f"{difference.loss.value:+.4f}",
            f"{CONFIDENCE} interval": _interval(difference.loss, "+.4f"),
            "A": f"{difference.losses[0]:.4f}",
            "B": f"{difference.losses[1]:.4f}",
        }
        for name, difference in _groups(comparison).items()
    ]


def accuracy_rows(comparison: Comparison) -> Rows:
    """Return the row of the accuracies over all common days."""
    overall = comparison.overall
    a, b = overall.accuracies
    return [
        {
            "accuracy": "all",
            "days": f"{overall.days}",
            "A − B": f"{overall.accuracy.value:+.1%}",
            f"{CONFIDENCE} interval": _interval(overall.accuracy, "+.1%"),
            "A": f"{a:.1%}",
            "B": f"{b:.1%}",
        }
    ]


def _groups(comparison: Comparison) -> dict[str, Difference]:
    by_volatility = {
        f"{tercile} volatility": difference
        for tercile, difference in comparison.by_volatility.items()
    }
    return {"all": comparison.overall, **comparison.by_year, **by_volatility}


def _pairs(heading: str, pairs: Mapping[str, tuple[str, str]]) -> Rows:
    return [{heading: name, "A": a or "–", "B": b or "–"} for name, (a, b) in pairs.items()]


def _interval(mean: Mean, form: str) -> str:
    if mean.low is None or mean.high is None:
        return "undefined"
    return f"{mean.low:{form}} to {mean.high:{form}}"


def _colour(comparison: Comparison) -> str:
    if comparison.headline == NO_DIFFERENCE:
        return COLOURS[NO_EVIDENCE]
    undecided = comparison.headline in (OTHER_QUESTION, TOO_FEW)
    return COLOURS[INCONCLUSIVE if undecided else SKILL]

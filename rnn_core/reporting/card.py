"""The card of a registered version: tags that say what it is worth, and a text made from them."""

from collections.abc import Mapping

from rnn_core.data.prices import Prices
from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.identity import differing
from rnn_core.operations.promotion import Candidate, Judgement
from rnn_core.safe_text import in_markdown

Card = Mapping[str, str]

UNJUDGED = "not judged yet"
LABELS = {
    "verdict": "verdict",
    "verdict.reason": "because",
    "pvalue": "p, adjusted for the looks",
    "look": "look at these days",
    "accuracy": "accuracy",
    "majority_accuracy": "always the majority class",
    "data.last": "last price",
    "data.sha256": "prices, SHA-256",
    "promotion": "promotion",
    "promotion.reason": "because",
    "champion.differences": "differences from the champion",
}
"""What the text calls each tag, in its order."""


def card(prices: Prices, evaluation: Evaluation) -> Card:
    """Return what is known of a version when it is registered: all but the judgement."""
    scores = evaluation.scores
    pvalue = scores.get(names.CONDITIONAL_PVALUE_ADJUSTED)
    return {
        "verdict": evaluation.verdict.headline,
        "verdict.reason": evaluation.verdict.reason,
        "pvalue": "undefined" if pvalue is None else f"{pvalue:.4g}",
        "look": f"{scores[names.significance('trials')]:.0f}",
        "accuracy": f"{scores[names.ACCURACY]:.4f}",
        "majority_accuracy": f"{scores[names.baseline_accuracy('majority')]:.4f}",
        "data.last": f"{prices.frame.index[-1]:%Y-%m-%d}",
        "data.sha256": prices.sha256,
        "promotion": UNJUDGED,
    }


def judged(
    judgement: Judgement, settings: Card, champion: Candidate | None, champion_settings: Card
) -> Card:
    """Return what its judgement adds to the card of a version.

    `settings` are the flattened settings of the version as texts, `champion_settings` those of the
    champion that it was judged against.
    """
    differences = "there was no champion"
    if champion is not None:
        listed = _differences(settings, champion_settings)
        differences = f"against version {champion.version}: {listed or 'none'}"
    return {
        "promotion": "promoted" if judgement.promoted else "not promoted",
        "promotion.reason": judgement.reason,
        "champion.differences": differences,
    }


def _differences(settings: Card, others: Card) -> str:
    return "; ".join(
        f"{name} is {value or '–'}, not {other or '–'}"
        for name, (value, other) in differing(settings, others).items()
    )


def text(card: Card) -> str:
    """Return a card as Markdown: the verdict as its heading, and a table.

    >>> print(text({"verdict": "skill", "look": "2"}))
    ### skill
    <BLANKLINE>
    | | |
    |---|---|
    | look at these days | 2 |
    """
    rows = [
        f"| {label} | {in_markdown(card[tag])} |"
        for tag, label in LABELS.items()
        if tag in card and tag != "verdict"
    ]
    return "\n".join([f"### {in_markdown(card['verdict'])}", "", "| | |", "|---|---|", *rows])

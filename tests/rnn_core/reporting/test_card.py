"""The text of a card is a table that Markdown can show."""

from rnn_core.reporting.card import LABELS, text
from rnn_core.safe_text import in_markdown


def test_every_tag_has_a_row_in_the_order_of_the_labels_and_others_have_none() -> None:
    tags = {tag: f"value of {tag}" for tag in reversed(LABELS)} | {"by hand": "a note"}
    heading, *_, rule, first = text(tags).splitlines()[:5]
    assert heading == "### value of verdict"
    assert rule == "|---|---|"
    assert first == "| because | value of verdict.reason |"
    rows = text(tags).splitlines()[4:]
    assert rows == [
        f"| {label} | {in_markdown(f'value of {tag}')} |"
        for tag, label in LABELS.items()
        if tag != "verdict"
    ]


def test_what_would_break_the_table_is_escaped() -> None:
    row = text({"verdict": "skill", "promotion.reason": "a | b\nc [d](e)"}).splitlines()[-1]
    assert row == r"| because | a \| b c \[d\](e) |"

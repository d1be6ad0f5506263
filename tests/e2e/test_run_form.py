"""The form that starts a run of `retrain/adhoc`, as a browser shows it."""

import html
import re

import pytest

from rnn_core.commands import Retrain
from tests.browser import open_page
from tests.e2e.prefect_site import Site


@pytest.fixture(scope="module")
def form(site: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The text of the form, one piece a line, and what the page wrote to the console."""
    page = f"{site.address}/deployments/deployment/{site.deployment('adhoc')['id']}/run"
    elements, console = open_page(page, tmp_path_factory.mktemp("form"), site.environment)
    text = re.sub(r"<(script|style)\b.*?</\1>", "", elements, flags=re.DOTALL)
    pieces = [html.unescape(piece).strip() for piece in re.sub(r"<[^>]+>", "\n", text).splitlines()]
    return "\n".join(filter(None, pieces)), console


def test_every_parameter_shows_its_description(form: tuple[str, str]) -> None:
    text, _ = form
    schema = Retrain.model_json_schema()
    on_other_tabs = ("File", "Synthetic")
    sections = [
        schema,
        *(part for name, part in schema["$defs"].items() if name not in on_other_tabs),
    ]
    fields = {
        name: field
        for part in sections
        for name, field in part["properties"].items()
        if "const" not in field
    }
    assert len(fields) > 30
    assert [
        name
        for name, field in fields.items()
        if field.get("description", f"no description of {name}") not in text
    ] == []


def test_the_source_of_prices_is_a_choice_of_tabs(form: tuple[str, str]) -> None:
    text, _ = form
    assert "Where prices come from\nYahoo\nFile\nSynthetic\n" in text


def test_the_page_reports_no_error(form: tuple[str, str]) -> None:
    _, console = form
    assert console == ""

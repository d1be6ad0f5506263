"""Texts from elsewhere: passwords are hidden, and nothing in them is markup or a control code."""

import re

import pytest
from markdown_it import MarkdownIt

from rnn_core.errors import ConfigError, RnnflowError
from rnn_core.safe_text import in_markdown, safe, without_login

SECRET = "s3same/open:now"
HARMLESS = (
    "http://127.0.0.1:5000/#/experiments/1/runs/abc",
    "sqlite:////tmp/mlflow.db",
    "postgresql://me@host:5432/ledger",
    "runs must name two different runs (got AAPL@champion, AAPL/3)",
    "runner.address tcp://127.0.0.1:9: no Dask scheduler answers there",
    "training.learning_rate=0.01, 95 % of 12 tokens",
    "078935.KS: 종가 → 수정종가",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert safe(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"http://me:{SECRET}@host:5000/x",
        f"HTTPS://me:{SECRET}@host",
        f"postgresql+psycopg://me:{SECRET}@host/db?sslmode=require",
        f"('https:/me:{SECRET}@host/prices.csv',)",
        f"cannot reach 'tcp://:{SECRET}@host:8786', nor http://host:1",
        f"https://{SECRET.replace('/', '-').replace(':', '-')}@host/api",
        f"https://host/api?user=me&access_token={SECRET}&page=2",
        f'connection string "host=h password={SECRET} user=me" refused',
        f"password='{SECRET} with a space'",
        f"{{'Authorization': 'Bearer {SECRET.replace(':', '-')}'}}",
        f"Authorization: Basic {SECRET.replace(':', '-')}",
    ],
)
def test_what_a_url_an_option_or_a_header_holds_is_hidden(text: str) -> None:
    shown = safe(text)
    assert "***" in shown
    for part in ("s3same", "open", "now"):
        assert part not in shown


@pytest.mark.parametrize(
    ("variable", "value", "leaks"),
    [
        ("MLFLOW_TRACKING_PASSWORD", "abracadabra1", ["abracadabra1"]),
        ("PREFECT_API_KEY", "pnu_0123456789", ["pnu_0123456789"]),
        ("PREFECT_API_AUTH_STRING", "admin:abra/cadabra", ["abra/cadabra", "abra%2Fcadabra"]),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtn/FEMI", ["wJalrXUtn/FEMI"]),
        ("MLFLOW_TRACKING_URI", "http://me:abra%21cadabra@h", ["abra%21cadabra", "abra!cadabra"]),
        ("HTTPS_PROXY", "http://me:abracadabra@proxy:8080", ["abracadabra"]),
        ("LEDGER_URL", "postgresql://me:abracadabra@h/x", ["bWU6YWJyYWNhZGFicmE="]),
    ],
)
def test_a_secret_of_the_environment_is_hidden_wherever_it_stands(
    variable: str, value: str, leaks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    for leak in leaks:
        assert safe(f"the server said: {leak}, no") == "the server said: ***, no"


def test_a_password_that_is_a_common_word_is_hidden_in_urls_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://mlflow:mlflow@host/mlflow")
    text = "python -m mlflow ui --backend-store-uri postgresql://mlflow:mlflow@host/mlflow"
    assert safe(text) == text.replace(":mlflow@", ":***@")


def test_digits_of_a_secret_inside_a_hash_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a1b2c3d4")
    digest = "00a1b2c3d4ff"
    assert safe(f"{digest} a1b2c3d4") == f"{digest} ***"


def test_every_error_of_this_project_hides_them() -> None:
    for kind in (RnnflowError, ConfigError):
        assert str(kind(f"no answer from http://me:{SECRET}@host")) == (
            "no answer from http://me:***@host"
        )


def test_a_link_has_no_login() -> None:
    assert without_login(f"http://me:{SECRET}@host:5000/ui?token=x") == "http://host:5000/ui"
    assert without_login("http://host:5000") == "http://host:5000"


def test_control_characters_and_changes_of_direction_are_written_out() -> None:
    assert safe("a\x1b[31mred\x07\x9b\u202ecod\u2028\r\nnext\tcolumn 종가") == (
        "a\\x1b[31mred\\x07\\x9b\\u202ecod\\u2028\\r\nnext\tcolumn 종가"
    )


@pytest.mark.parametrize(
    "name",
    [
        "![x](http://127.0.0.1:9/x.png)",
        "[click](http://127.0.0.1:9)",
        "<img src=x onerror=alert(1)>",
        "<http://127.0.0.1:9>",
        "http://127.0.0.1:9/x",
        "www.example.org",
        "*a* __b__ `c` ~~d~~ &copy; a|b",
        "# heading",
        "- item",
        "\\*a\\*",
    ],
)
def test_markdown_shows_a_name_as_it_is(name: str) -> None:
    """Readers of Markdown find no link, picture, style or HTML in it, and the same letters."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parsed = reader.parse(f"| name |\n|---|\n| {in_markdown(name)} |")
    tokens = [child for token in parsed for child in token.children or []]
    assert {token.type for token in tokens} == {"text"}
    assert "".join(token.content for token in tokens) == f"name{name}"
    # What GitHub's Markdown, and Prefect's, make a link of without brackets
    assert not re.search(r"(https?://|www\.)", in_markdown(name))
    alone = reader.parse(in_markdown(name))
    assert [token.type for token in alone] == ["paragraph_open", "inline", "paragraph_close"]

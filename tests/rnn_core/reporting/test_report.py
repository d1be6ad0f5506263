"""The page of a run: self-contained, with the verdict first, readable on a desk and a telephone."""

import html
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rnn_core.commands import Retrain
from rnn_core.config import Evaluation as Settings
from rnn_core.config import Model, Synthetic, Training
from rnn_core.data.folds import folds
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices
from rnn_core.data.windows import windows
from rnn_core.evaluation.evaluation import Evaluation, evaluate
from rnn_core.evaluation.explain import explain
from rnn_core.nn.ensemble import predict
from rnn_core.nn.training import fit
from rnn_core.reporting import figures
from rnn_core.reporting.report import report
from tests.browser import open_page

CONFIG = Retrain(
    ticker="TEST",
    source=Synthetic(days=400),
    model=Model(hidden_size=4),
    training=Training(epochs=2, seeds=2),
    evaluation=Settings(train_days=100, valid_days=30, test_days=60),
)
MEASURE = """
<iframe id=page style="width:{width}px;height:2000px;border:0" srcdoc="{page}"></iframe>
<script>
const frame = document.getElementById('page');
frame.onload = () => {{
  const page = frame.contentDocument, cells = [...page.querySelectorAll('td, th, p, figcaption')];
  const filled = cells.filter(cell => cell.textContent.trim());
  const result = {{
    overflow: page.documentElement.scrollWidth - {width},
    narrowest: Math.min(...filled.map(cell => cell.getBoundingClientRect().width)),
    smallest: Math.min(...filled.map(cell => parseFloat(getComputedStyle(cell).fontSize))),
    tallest: Math.max(
      ...[...page.querySelectorAll('tr')].map(row => row.getBoundingClientRect().height)
    ),
    broken: [...page.images].filter(image => !image.naturalWidth).length,
    images: page.images.length,
  }};
  document.body.dataset.result = JSON.stringify(result);
}};
</script>"""


def assert_readable(page: str, folder: Path, width: int, images: int) -> None:
    """In Chromium, `width` pixels wide, nothing sticks out, is broken, tiny or squeezed."""
    (folder / "page.html").write_text(
        MEASURE.format(width=width, page=html.escape(page)), encoding="utf-8"
    )
    elements, console = open_page(f"file://{folder}/page.html", folder)
    result = re.search(r'data-result="([^"]*)"', elements)
    assert result, "the page did not load"
    measured = json.loads(html.unescape(result[1]))
    assert console == ""
    assert measured["overflow"] <= 0
    assert measured["broken"] == 0
    assert measured["images"] == images
    assert measured["smallest"] >= 14
    assert measured["narrowest"] >= 40
    assert measured["tallest"] <= 130, "a column is squeezed to a few letters a line"


@pytest.fixture(scope="module")
def run() -> tuple[str, Evaluation, Prices]:
    prices = load(CONFIG.source, CONFIG.ticker, datetime(2024, 6, 1, tzinfo=UTC))
    built = windows(CONFIG.problem, prices)
    walk = folds(CONFIG.evaluation, built)
    fitted = fit(CONFIG.model, CONFIG.training, built, walk)
    rows = walk.test.repeat(2, axis=0)
    evaluation = evaluate(
        built, walk, predict(fitted, built.x, rows), CONFIG.evaluation, shrinkage=0.5
    )
    drawn = figures.figures(
        fitted, evaluation, lambda: explain(fitted, built, rows), built.features, CONFIG.ticker
    )
    return report(CONFIG, prices, evaluation, figures.rendered(drawn)), evaluation, prices


def test_the_verdict_comes_first(run: tuple[str, Evaluation, Prices]) -> None:
    page, evaluation, _ = run
    body = page[page.index("<body>") :]
    assert body.index(evaluation.verdict.headline) < body.index("<table>")
    assert html.escape(evaluation.verdict.power) in body
    assert html.escape(evaluation.verdict.reason) in body


def test_it_holds_every_score_the_provenance_and_the_exact_configuration(
    run: tuple[str, Evaluation, Prices],
) -> None:
    page, evaluation, prices = run
    assert all(name in page for name in (*evaluation.scores, *evaluation.undefined))
    assert prices.sha256 in page
    config = html.unescape(page[page.index("<pre>") + 5 : page.index("</pre>")])
    assert Retrain.model_validate_json(config) == CONFIG


def test_each_account_has_a_row_and_the_bound_is_named_so(
    run: tuple[str, Evaluation, Prices],
) -> None:
    page, evaluation, _ = run
    money = page[page.index("In money") : page.index("Right and wrong")]
    for name in ("sharpe_net", "hold_sharpe_net", "next_open_sharpe_net"):
        assert f"{evaluation.scores[f'backtest/{name}']:.2f}" in money
    bound = money[money.index("an upper bound") :]
    assert f"{evaluation.scores['backtest/frictionless_sharpe_net']:.2f}" in bound
    assert f"(t {evaluation.scores['backtest/timing_t']:.2f})" in money


def test_nothing_is_loaded_from_outside(run: tuple[str, Evaluation, Prices]) -> None:
    page, _, _ = run
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert "url(" not in page
    assert "<script" not in page
    assert "http" not in page


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it_whole_and_readable(
    run: tuple[str, Evaluation, Prices], tmp_path: Path, width: int
) -> None:
    assert_readable(run[0], tmp_path, width, images=8)

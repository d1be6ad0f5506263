"""Two runs side by side, on a page and in figures."""

import html
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from rnn_core.evaluation.comparison import Comparison, compare
from rnn_core.evaluation.metrics import reliability
from rnn_core.reporting import figures
from rnn_core.reporting import side_by_side as pages
from rnn_core.reporting.report import COLOURS
from rnn_core.reporting.side_by_side import Side
from tests.rnn_core.reporting.test_figures import drawn
from tests.rnn_core.reporting.test_report import assert_readable

A = Side(
    "retrain-AAPL, version 1",
    "a" * 32,
    {"model.cell": "lstm", "training.epochs": "40", "now": "2020-01-01", "source.path": "<a>.csv"},
    {"engine": "numpy", "prices, SHA-256": "0123456789ab", "rnnflow": "0.2.0"},
)
B = Side(
    "retrain-AAPL, version 2",
    "b" * 32,
    {"model.cell": "gru", "training.epochs": "40", "now": "2021-01-01", "model.bias": "True"},
    {"engine": "torch", "prices, SHA-256": "0123456789ab", "rnnflow": "0.2.0"},
)


def calls(edge: float = 0.0, seed: int = 0) -> pd.DataFrame:
    dates = pd.bdate_range("2020-01-01", periods=700, name="date")
    returns = np.random.default_rng(1).normal(scale=0.01, size=700)
    up = (returns > 0).astype(int)
    probability = np.random.default_rng(seed + 2).normal(0.5, 0.02, size=700)
    table = {"probability": probability + edge * (2 * up - 1), "up": up, "next_return": returns}
    return pd.DataFrame(table, dates)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(calls(0.02), calls(seed=1))


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> str:
    return pages.comparison_page(A, B, comparison, pages.comparison_figures(comparison))


def test_only_what_differs_is_listed(comparison: Comparison) -> None:
    assert pages.settings_rows(A, B) == [
        {"setting": "model.bias", "A": "–", "B": "True"},
        {"setting": "model.cell", "A": "lstm", "B": "gru"},
        {"setting": "source.path", "A": "<a>.csv", "B": "–"},
    ]
    assert pages.facts_rows(A, B, comparison) == [{"what": "engine", "A": "numpy", "B": "torch"}]


def test_other_returns_of_the_same_days_are_said() -> None:
    revised = calls().assign(next_return=lambda table: table["next_return"] + 0.001)
    rows = pages.facts_rows(A, A, compare(calls(), revised))
    assert rows == [
        {"what": "returns of the same days", "A": "", "B": "differ by up to 0.10%"},
    ]


def test_a_few_other_outcomes_of_the_same_days_are_said() -> None:
    corrected = calls()
    corrected.iloc[0, corrected.columns.get_loc("up")] ^= 1
    corrected.iloc[0, corrected.columns.get_loc("next_return")] *= -1
    *_, row = pages.facts_rows(A, A, compare(calls(), corrected))
    days = len(corrected)
    assert row == {"what": "outcomes of the same days", "A": "", "B": f"differ on 1 of {days}"}


def test_the_headline_comes_first_and_each_group_has_a_row(
    page: str, comparison: Comparison
) -> None:
    body = page[page.index("<body>") :]
    assert comparison.headline.startswith("A is better by ")
    assert body.index(comparison.headline) < body.index("<table")
    assert html.escape(comparison.reason) in body
    for row in pages.loss_rows(comparison):
        assert f"<td>{row['log loss']}</td>" in body
        assert row["99% interval"] in body
    assert "&lt;a&gt;.csv" in body


@pytest.mark.parametrize(
    ("other", "colour"),
    [
        (calls(0.02), "skill"),
        (calls(seed=1), "no evidence of skill"),
        (calls().assign(up=lambda table: 1 - table["up"]), "inconclusive"),
    ],
)
def test_the_colour_is_that_of_a_finding_only_if_there_is_one(
    other: pd.DataFrame, colour: str
) -> None:
    page = pages.comparison_page(A, B, compare(calls(), other), {})
    assert f"--verdict: {COLOURS[colour]}" in page


def test_nothing_is_loaded_from_outside(page: str) -> None:
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert "<script" not in page
    assert "http" not in page


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it_whole_and_readable(page: str, tmp_path: Path, width: int) -> None:
    assert_readable(page, tmp_path, width, images=2)


def test_both_reliability_curves_are_in_one_figure(comparison: Comparison) -> None:
    figure = figures.two_reliability_curves(comparison.calls, "A and B")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["A", "B"]
    for run, container in zip("ab", axes.containers, strict=True):
        table = comparison.calls
        bins = reliability(table[f"up_{run}"].to_numpy(), table[f"probability_{run}"].to_numpy())
        line, _, (bars,) = container
        np.testing.assert_allclose(line.get_xydata(), bins[["forecast", "frequency"]])
        ends = [[low[1], high[1]] for low, high in bars.get_segments()]
        np.testing.assert_allclose(ends, bins[["low", "high"]])
    assert_uncut(figure)


def test_the_summed_difference_ends_at_the_days_times_the_mean(comparison: Comparison) -> None:
    figure = figures.cumulative_difference(comparison.calls, "A and B")
    summed = figure.axes[0].lines[0].get_ydata()
    overall = comparison.overall
    assert summed[-1] == pytest.approx(overall.loss.value * overall.days)
    assert_uncut(figure)


def assert_uncut(figure: Figure) -> None:
    pixels = drawn(figure)
    assert (pixels[[0, -1]] == 255).all()
    assert (pixels[:, [0, -1]] == 255).all()

"""Figures: drawn without a warning, readable, and saying what they show."""

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure

from rnn_core import plots
from rnn_core.config import Evaluation as Shape
from rnn_core.config import Model, Problem, Synthetic, Training
from rnn_core.evaluation import Evaluation, evaluate
from rnn_core.folds import folds
from rnn_core.problems import windows
from rnn_core.sources import load
from rnn_core.training import Fit, fit, predict


@pytest.fixture(scope="module")
def run() -> tuple[Fit, Evaluation]:
    built = windows(Problem(), load(Synthetic(days=300, seed=1), "TEST", datetime(2024, 6, 1, tzinfo=UTC)))
    walk = folds(Shape(train_days=100, valid_days=30, test_days=40), built)
    fitted = fit(Model(hidden_size=4), Training(epochs=5, seeds=2), built, walk)
    return fitted, evaluate(built, walk, predict(fitted, built.x, walk.test.repeat(2, axis=0)))


def texts(figure: Figure) -> str:
    axes = figure.axes[0]
    words = [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel(), *(t.get_text() for t in axes.texts)]
    return " | ".join(words + [label.get_text() for label in axes.get_yticklabels()])


def drawn(figure: Figure) -> np.ndarray:
    """Pixels (height, width, 4) as they would be saved."""
    buffer = BytesIO()
    figure.savefig(buffer, format="rgba")
    width, height = (round(inches * figure.dpi) for inches in figure.get_size_inches())
    return np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)


def test_a_run_has_four_figures_of_a_size_that_fits_a_page(run: tuple[Fit, Evaluation]) -> None:
    figures = plots.figures(*run, "TEST")
    assert figures.keys() == {"loss.png", "directions.png", "reliability.png", "folds.png"}
    for figure in figures.values():
        pixels = drawn(figure)
        assert pixels.shape[1] == 960
        assert (pixels[..., :3].std(axis=(0, 1)) > 10).all(), "an empty figure"
        assert (pixels[[0, -1]] == 255).all(), "something is cut at the top or bottom"
        assert (pixels[:, [0, -1]] == 255).all(), "something is cut at the left or right"


def test_the_loss_curves_carry_the_coin_toss_and_their_names(run: tuple[Fit, Evaluation]) -> None:
    figure = plots.loss_curves(run[0], "TEST")
    assert all(word in texts(figure) for word in ("TEST", "training", "validation", "ln 2", "epoch", "nats"))
    lines = figure.axes[0].lines
    np.testing.assert_array_equal(lines[0].get_ydata(), run[0].losses[0])
    np.testing.assert_array_equal(lines[1].get_ydata(), run[0].losses[1])
    np.testing.assert_allclose(lines[2].get_ydata(), np.log(2))


def test_a_single_epoch_can_be_seen(run: tuple[Fit, Evaluation]) -> None:
    one = replace(run[0], train_loss=run[0].train_loss[:, :1], valid_loss=run[0].valid_loss[:, :1])
    assert plots.loss_curves(one, "TEST").axes[0].lines[0].get_marker() == "o"


def test_the_strip_tells_hits_from_misses_without_colour(run: tuple[Fit, Evaluation]) -> None:
    calls = run[1].calls
    figure = plots.direction_strip(calls, "TEST", days=30)
    last = calls.tail(30)
    hits = int(((last["probability"] > 0.5) == last["up"]).sum())
    assert f"filled: hit ({hits})" in texts(figure)
    assert f"hollow: miss ({30 - hits})" in texts(figure)
    *rows, crosses = figure.axes[0].collections
    assert len(crosses.get_offsets()) == 30 - hits
    filled = sum(len(row.get_offsets()) for row in rows if len(row.get_facecolor()))
    assert filled == 2 * hits
    assert sum(len(row.get_offsets()) for row in rows) == 60


def test_the_reliability_curve_counts_its_days(run: tuple[Fit, Evaluation]) -> None:
    calls = run[1].calls
    counts = [int(text.get_text()) for text in plots.reliability_curve(calls, "T").axes[0].texts[:-1]]
    assert sum(counts) == len(calls)


def test_accuracy_by_fold_stands_beside_the_majority(run: tuple[Fit, Evaluation]) -> None:
    figure = plots.accuracy_by_fold(run[1].folds, "TEST")
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} == {"network", "majority class"}

"""Figures: drawn without a warning, readable, with titles and labels."""

from dataclasses import replace
from datetime import UTC, date, datetime
from io import BytesIO
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from rnn_core.config import Evaluation as Settings
from rnn_core.config import Feature, Model, Problem, Synthetic, Training
from rnn_core.data.folds import folds
from rnn_core.data.loading import load
from rnn_core.data.windows import windows
from rnn_core.evaluation.audit import Count, Findings
from rnn_core.evaluation.evaluation import Evaluation, evaluate
from rnn_core.evaluation.explain import Explanation, explain
from rnn_core.nn.ensemble import predict
from rnn_core.nn.training import Fit, fit
from rnn_core.operations.live import live_record
from rnn_core.reporting import figures

FEATURES = ("return", "direction")
NAMES = {f"{name}.png" for name in ("loss", "directions", "reliability", "folds")}
NAMES |= {f"{name}.png" for name in ("equity", "seeds", "gradient", "inputs")}
SETTINGS = Settings(train_days=100, valid_days=30, test_days=40)


@pytest.fixture(scope="module")
def run() -> tuple[Fit, Evaluation, Explanation]:
    built = windows(
        Problem(), load(Synthetic(days=300, seed=1), "TEST", datetime(2024, 6, 1, tzinfo=UTC))
    )
    walk = folds(SETTINGS, built)
    fitted = fit(Model(hidden_size=4), Training(epochs=5, seeds=2), built, walk)
    rows = walk.test.repeat(2, axis=0)
    evaluation = evaluate(built, walk, predict(fitted, built.x, rows), SETTINGS, shrinkage=0.5)
    return fitted, evaluation, explain(fitted, built, rows)


def texts(figure: Figure) -> str:
    axes = figure.axes[0]
    words = [
        axes.get_title(loc="left"),
        axes.get_xlabel(),
        axes.get_ylabel(),
        *(t.get_text() for t in axes.texts),
    ]
    return " | ".join(words + [label.get_text() for label in axes.get_yticklabels()])


def drawn(figure: Figure) -> np.ndarray:
    """Pixels (height, width, 4) as they would be saved."""
    buffer = BytesIO()
    figure.savefig(buffer, format="rgba")
    width, height = (round(inches * figure.dpi) for inches in figure.get_size_inches())
    return np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)


def test_a_run_has_its_figures_of_a_size_that_fits_a_page(
    run: tuple[Fit, Evaluation, Explanation],
) -> None:
    fitted, evaluation, explanation = run
    by_name = figures.figures(fitted, evaluation, lambda: explanation, FEATURES, "TEST")
    assert by_name.keys() == NAMES
    for figure in by_name.values():
        pixels = drawn(figure)
        assert pixels.shape[1] == 960
        assert (pixels[..., :3].std(axis=(0, 1)) > 10).all(), "an empty figure"
        assert (pixels[[0, -1]] == 255).all(), "something is cut at the top or bottom"
        assert (pixels[:, [0, -1]] == 255).all(), "something is cut at the left or right"


def test_every_feature_has_room_for_its_name(run: tuple[Fit, Evaluation, Explanation]) -> None:
    features = get_args(Feature)
    sensitivity = np.repeat(run[2].sensitivity[..., :1], len(features), axis=-1)
    pixels = drawn(
        figures.input_sensitivity(replace(run[2], sensitivity=sensitivity), features, "TEST")
    )
    assert (pixels[:, [0, -1]] == 255).all()


def test_the_live_accuracy_ends_at_the_record() -> None:
    rng = np.random.default_rng(0)
    settled = pd.DataFrame(
        {"session": pd.bdate_range("2024-01-01", periods=40).date, "probability": rng.random(40)}
    )
    settled["up"] = pd.array(rng.random(40) < 0.5, dtype="boolean")
    settled["promised_log_loss"] = 0.69
    settled["promised_accuracy"] = settled["promised_low"] = np.linspace(0.5, 0.6, 40)
    settled["promised_high"] = settled["promised_low"] + 0.1
    record = live_record(settled)
    figure = figures.live_accuracy(settled, "TEST")
    axes = figure.axes[0]
    assert record is not None
    assert axes.lines[0].get_ydata()[-1] == record.accuracy
    bands = [band.get_paths()[0].vertices for band in axes.collections]
    ends = [sorted({y for x, y in band if x == 39}) for band in bands]
    np.testing.assert_allclose(
        ends, [[record.low, record.high], [record.promised_low, record.promised_high]]
    )
    assert (drawn(figure)[:, [0, -1]] == 255).all()


def test_a_single_live_day_can_be_seen() -> None:
    day = {
        "session": [date(2024, 1, 2)],
        "probability": [0.6],
        "up": pd.array([True], dtype="boolean"),
    }
    promised = {"promised_low": [np.nan], "promised_high": [np.nan]}
    figure = figures.live_accuracy(pd.DataFrame(day | promised), "TEST")
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert "2024-01-02" in [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert drawn(figure).shape[1] == 960


def test_the_loss_curves_have_their_names_and_a_coin_toss(
    run: tuple[Fit, Evaluation, Explanation],
) -> None:
    figure = figures.loss_curves(run[0], "TEST")
    assert all(
        word in texts(figure)
        for word in ("TEST", "training", "validation", "ln 2", "epoch", "nats")
    )
    lines = figure.axes[0].lines
    np.testing.assert_array_equal(lines[0].get_ydata(), run[0].losses[0])
    np.testing.assert_array_equal(lines[1].get_ydata(), run[0].losses[1])
    np.testing.assert_allclose(lines[2].get_ydata(), np.log(2))


def test_a_single_epoch_can_be_seen(run: tuple[Fit, Evaluation, Explanation]) -> None:
    one = replace(run[0], train_loss=run[0].train_loss[:, :1], valid_loss=run[0].valid_loss[:, :1])
    assert figures.loss_curves(one, "TEST").axes[0].lines[0].get_marker() == "o"


@pytest.mark.parametrize("edges", [(), (0.55,), (0.60, 0.52, 0.55, 0.58, 0.56, 0.54)])
def test_the_power_of_an_audit_is_drawn_from_no_direction_upwards(
    edges: tuple[float, ...],
) -> None:
    power = {edge: Count(f"{edge:.2f}", round(800 * (edge - 0.5)), 100) for edge in edges}
    null = (Count("signs redrawn", 3, 50), Count("blocks redrawn", 1, 50))
    figure = figures.power_curve(Findings(1887, null, power, ()), "TEST")
    curve = figure.axes[0].lines[1]
    np.testing.assert_array_equal(curve.get_xdata(), [0.5, *sorted(edges)])
    rates = [0.04, *(power[edge].rate for edge in sorted(edges))]
    np.testing.assert_allclose(curve.get_ydata(), rates)
    assert "1,887 test days" in texts(figure)
    pixels = drawn(figure)
    assert (pixels[[0, -1]] == 255).all()
    assert (pixels[:, [0, -1]] == 255).all()


def test_the_strip_shows_hits_and_misses_without_colour(
    run: tuple[Fit, Evaluation, Explanation],
) -> None:
    calls = run[1].calls
    figure = figures.direction_strip(calls, "TEST", days=30)
    last = calls.tail(30)
    hits = int(((last["probability"] > 0.5) == last["up"]).sum())
    assert f"filled: hit ({hits})" in texts(figure)
    assert f"hollow: miss ({30 - hits})" in texts(figure)
    *rows, crosses = figure.axes[0].collections
    assert len(crosses.get_offsets()) == 30 - hits
    filled = sum(len(row.get_offsets()) for row in rows if len(row.get_facecolor()))
    assert filled == 2 * hits
    assert sum(len(row.get_offsets()) for row in rows) == 60


def test_the_reliability_curve_counts_its_days(run: tuple[Fit, Evaluation, Explanation]) -> None:
    calls = run[1].calls
    counts = [
        int(text.get_text()) for text in figures.reliability_curve(calls, "T").axes[0].texts[:-1]
    ]
    assert sum(counts) == len(calls)


def test_accuracy_by_fold_is_shown_with_the_majority_class(
    run: tuple[Fit, Evaluation, Explanation],
) -> None:
    figure = figures.accuracy_by_fold(run[1].folds, "TEST")
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} == {"network", "majority class"}


def test_the_equity_curves_end_where_the_backtest_does(
    run: tuple[Fit, Evaluation, Explanation],
) -> None:
    figure = figures.equity(run[1], "TEST")
    ends = [line.get_ydata()[-1] for line in figure.axes[0].lines]
    backtests = run[1].backtests
    accounts = (
        backtests["long_flat"].strategy,
        backtests["long_short"].strategy,
        backtests["long_flat"].buy_and_hold,
    )
    assert ends == [account.equity[-1] for account in accounts]


def test_the_reach_is_drawn_fold_by_fold_with_the_call_at_the_right(
    run: tuple[Fit, Evaluation, Explanation],
) -> None:
    _, evaluation, explanation = run
    figure = figures.gradient_reach(explanation, 2, "TEST")
    axes = figure.axes[0]
    assert axes.xaxis_inverted()
    drawn = axes.collections[0].get_array()
    assert drawn.shape == (len(evaluation.folds), 10)
    np.testing.assert_allclose(drawn[0], explanation.reach[:2].mean(axis=0))


def test_labels_are_clear_of_the_ticks_and_within_the_figure(
    run: tuple[Fit, Evaluation, Explanation],
) -> None:
    fitted, evaluation, explanation = run
    for name, figure in figures.figures(
        fitted, evaluation, lambda: explanation, FEATURES, "TEST"
    ).items():
        drawn(figure)
        axes = figure.axes[0]
        for axis in (axes.xaxis, axes.yaxis):
            label = axis.label.get_window_extent()
            ticks = [tick.get_window_extent() for tick in axis.get_ticklabels() if tick.get_text()]
            if axis.label.get_text():
                assert not label.overlaps(Bbox.union(ticks)), (name, axis.label.get_text())
                assert min(label.x0, label.y0) >= 0, (name, axis.label.get_text())


def test_a_bidirectional_net_has_no_reach(run: tuple[Fit, Evaluation, Explanation]) -> None:
    fitted, evaluation, explanation = run
    both = replace(fitted, model=replace(fitted.model, bidirectional=True))
    without = replace(explanation, reach=None)
    assert figures.figures(both, evaluation, lambda: without, FEATURES, "TEST").keys() == NAMES - {
        "gradient.png"
    }


def test_nothing_is_explained_twice_or_for_figures_that_are_not_drawn(
    run: tuple[Fit, Evaluation, Explanation],
) -> None:
    calls: list[str] = []

    def explained() -> Explanation:
        calls.append("once")
        return run[2]

    assert figures.figures(*run[:2], explained, FEATURES, "TEST", ["folds.png"]).keys() == {
        "folds.png"
    }
    assert calls == []
    figures.figures(*run[:2], explained, FEATURES, "TEST")
    assert calls == ["once"]


@pytest.mark.parametrize(("folds", "marked"), [(1, 1), (6, 6), (7, 4), (10, 5), (40, 6)])
def test_dates_are_few_and_as_far_from_each_other(folds: int, marked: int) -> None:
    table = pd.DataFrame({"first": pd.bdate_range("2018-01-03", periods=folds, freq="63B")})
    figure = figures.accuracy_by_fold(
        table.assign(accuracy=0.5, low=0.4, high=0.6, majority=0.5), "T"
    )
    ticks = figure.axes[0].get_xticks()
    assert len(ticks) == marked
    assert len(set(np.diff(ticks))) <= 1
    dates = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert dates == [f"{table['first'][int(tick)]:%Y-%m-%d}" for tick in ticks]

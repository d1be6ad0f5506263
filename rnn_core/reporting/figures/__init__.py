"""The figures of a run. Each function returns a Figure; none of them saves or shows it."""

from collections.abc import Callable, Sequence
from functools import cache

from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.evaluation.explain import Explanation
from rnn_core.nn.training import Fit
from rnn_core.reporting.figures.audit import power_curve
from rnn_core.reporting.figures.calls import (
    accuracy_by_fold,
    cumulative_difference,
    direction_strip,
    equity,
    live_accuracy,
    reliability_curve,
    two_reliability_curves,
)
from rnn_core.reporting.figures.drawing import (
    BLUE,
    DARK_GREY,
    DASHED,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    Axes,
    Figure,
    Figures,
    Say,
    canvas,
    canvases,
    english,
    hangul_font,
    korean,
    label,
    rendered,
    style,
)
from rnn_core.reporting.figures.networks import (
    accuracy_by_seed,
    gradient_reach,
    input_sensitivity,
    loss_curves,
)

__all__ = [
    "BLUE",
    "DARK_GREY",
    "DASHED",
    "GREY",
    "ORANGE",
    "PURPLE",
    "RED",
    "Axes",
    "Figure",
    "Figures",
    "Say",
    "accuracy_by_fold",
    "accuracy_by_seed",
    "canvas",
    "canvases",
    "cumulative_difference",
    "direction_strip",
    "english",
    "equity",
    "figures",
    "gradient_reach",
    "hangul_font",
    "input_sensitivity",
    "korean",
    "label",
    "live_accuracy",
    "loss_curves",
    "power_curve",
    "reliability_curve",
    "rendered",
    "style",
    "two_reliability_curves",
]


def figures(
    fit: Fit,
    evaluation: Evaluation,
    explained: Callable[[], Explanation],
    features: Sequence[str],
    title: str,
    only: Sequence[str] | None = None,
) -> Figures:
    """Return the figures of a run, by file name.

    Args:
        fit: the trained networks.
        evaluation: of their out-of-sample calls.
        explained: computes the explanation; called at most once, if a figure needs it.
        features: names of the inputs.
        title: begins every figure's title.
        only: file names of the figures to draw; all by default.

    A bidirectional network has no figure of the gradient's reach.
    """
    explanation = cache(explained)
    draw: dict[str, Callable[[], Figure]] = {
        "loss.png": lambda: loss_curves(fit, title),
        "directions.png": lambda: direction_strip(evaluation.calls, title),
        "reliability.png": lambda: reliability_curve(evaluation.calls, title),
        "folds.png": lambda: accuracy_by_fold(evaluation.folds, title),
        "equity.png": lambda: equity(evaluation, title),
        "seeds.png": lambda: accuracy_by_seed(evaluation, title),
        "inputs.png": lambda: input_sensitivity(explanation(), features, title),
        "gradient.png": lambda: gradient_reach(explanation(), fit.training.seeds, title),
    }
    if fit.model.bidirectional:
        del draw["gradient.png"]
    return {name: figure() for name, figure in draw.items() if only is None or name in only}

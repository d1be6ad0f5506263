"""The next value of a sine."""

import numpy as np

from rnn_core.commands import Study
from rnn_core.config import Model
from rnn_core.evaluation.baselines import regression_baselines
from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import (
    BLUE,
    DARK_GREY,
    DASHED,
    Figure,
    Say,
    canvas,
    canvases,
    label,
)
from rnn_core.studies.sines.waves import Waves, generator, outcome_of, scored
from rnn_core.studies.study import (
    Finding,
    Steps,
    Trained,
    Variant,
    Variants,
    examples,
    sayer,
    training,
)

WINDOW = 50  # values of a window
SPAN = 4 * np.pi  # radians from the first value of a window to the last
STEP = SPAN / (WINDOW - 1)  # radians from one value to the next
TRAIN = 1000
TEST = 200


def data(study: Study) -> Waves:
    """Return windows of a sine at random phase over 4π, and the value that follows each."""
    train = examples(study, TRAIN)
    count = train + examples(study, TEST)
    phase = generator(study).uniform(0, 2 * np.pi, (count, 1))
    values = np.sin(phase + np.arange(WINDOW + 1) * SPAN / (WINDOW - 1))
    return scored(values[:, :WINDOW], values[:, WINDOW:], train)


def variants(study: Study, waves: Waves) -> Variants:
    """Return one network that is read at the end of a window."""
    settings = training(study, epochs=50, batch_size=64, learning_rate=0.01, clip_norm=1.0)
    return {"network": Variant(Model(hidden_size=32), settings, waves.sequences, waves.folds)}


def finding(study: Study, waves: Waves, trained: dict[str, Trained]) -> Finding:
    """Compare the network's errors with the baselines' and those of the rule of a sine."""
    say = sayer(study)
    outcome = outcome_of(trained["network"])
    loss = trained["network"].fit.train_loss[0]
    target = outcome.targets[:, 0]
    error = outcome.answers[:, 0] - target
    metrics = {
        "test/mse": outcome.mse,
        "test/largest_error": float(np.abs(error).max()),
        "train/last_loss": float(loss[-1]),
    }
    for name, forecast in _baselines(waves).items():
        metrics[f"baseline/{name}_mse"] = float(((forecast - target) ** 2).mean())
    sentences = (_of_network(metrics, len(loss), len(target), say), _of_baselines(metrics, say))
    figures = {"predicted.png": _predicted(target, error, say), "loss.png": _loss(loss, say)}
    return Finding(sentences, metrics, figures)


def _baselines(waves: Waves) -> dict[str, Array]:
    """Return the forecasts (s,) of the baselines, and of the rule that a sine follows."""
    x = waves.sequences.x[:, :, 0]
    y = waves.sequences.y[:, 0, 0]
    folds = waves.folds
    window = x[folds.test[0]]
    rule = 2 * np.cos(STEP) * window[:, -1] - window[:, -2]
    return regression_baselines(x[:, -1], y, folds.train, folds.test) | {"two_value_rule": rule}


def _of_network(metrics: dict[str, float], epochs: int, windows: int, say: Say) -> str:
    mse = metrics["test/mse"]
    largest = metrics["test/largest_error"]
    loss = metrics["train/last_loss"]
    return say(
        f"After {epochs} epochs the mean squared error of the next value is {mse:.2g} on {windows} "
        f"test windows ({loss:.2g} in the last epoch of training), and the largest error of an "
        f"answer is {largest:.2g}.",
        f"{epochs}에포크를 학습한 뒤 테스트 창 {windows}개에서 다음 값의 평균제곱오차는 "
        f"{mse:.2g}이고(마지막 에포크의 학습 손실은 {loss:.2g}), 가장 크게 빗나간 답의 오차도 "
        f"{largest:.2g}이다.",
    )


def _of_baselines(metrics: dict[str, float], say: Say) -> str:
    last = metrics["baseline/last_value_mse"]
    rule = metrics["baseline/two_value_rule_mse"]
    better = metrics["test/mse"] < last
    verdict = say("better", "더 정확하다") if better else say("no better", "더 정확하지 않다")
    return say(
        f"Repeating the last value has an error of {last:.2g}: the network is {verdict}. A rule of "
        f"two values, 2·cos δ·x(t) − x(t−1) with δ the angle of a step, has {rule:.2g}. So this "
        "shows that the training works, not that a sine needs a network.",
        f"마지막 값을 되풀이하면 오차가 {last:.2g}이므로 신경망이 {verdict}. 두 값만 쓰는 규칙 "
        f"2·cos δ·x(t) − x(t−1)의 오차는 {rule:.2g}이다(δ는 한 시점의 각도). 여기서 보이는 것은 "
        "학습이 제대로 된다는 것이지, 사인을 맞히는 데 신경망이 필요하다는 것이 아니다.",
    )


def _predicted(target: Array, error: Array, say: Say) -> Figure:
    """Draw the predicted against the true values (s,), and the errors (s,)."""
    figure, ((both, off),) = canvases(
        say("The next value of a sine", "사인의 다음 값"), columns=2, height=4
    )
    both.axline((0, 0), slope=1, **DASHED)
    both.scatter(target, target + error, 16, ec=BLUE, fc="none")
    both.annotate(
        say("dashed: right", "점선: 정답"), (0.05, 0.92), xycoords="axes fraction", color=DARK_GREY
    )
    off.axhline(0, **DASHED)
    off.scatter(target, error, 16, ec=BLUE, fc="none")
    off.ticklabel_format(axis="y", scilimits=(-2, 2), useMathText=True)
    true = say("true value", "실제 값")
    both.set(xlabel=true, ylabel=say("predicted value", "예측 값"))
    off.set(xlabel=true, ylabel=say("predicted − true", "예측 − 실제"))
    return figure


def _loss(loss: Array, say: Say) -> Figure:
    """Draw the training loss (epochs,) by epoch."""
    figure, axes = canvas(
        say("The next value: training loss by epoch", "다음 값: 에포크별 학습 손실")
    )
    epochs = len(loss)
    axes.semilogy(np.arange(1, epochs + 1), loss, color=BLUE, marker="o", markersize=3)
    label(axes, f"{loss[-1]:.2g}", epochs, loss[-1], BLUE)
    axes.set(xlabel=say("epoch", "에포크"), ylabel=say("mean squared error", "평균제곱오차"))
    axes.set_xlim(0.5, 1.1 * epochs + 0.5)
    return figure


NEXT_VALUE = Steps(data, variants, finding)

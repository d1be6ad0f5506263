"""The per-sample network of the textbooks on daily directions: what it learns, and what it only seems to."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from rnn_core.config import Model, Study
from rnn_core.data.loading import Prices
from rnn_core.errors import DataError
from rnn_core.evaluation.metrics import wilson_interval
from rnn_core.evaluation.significance import ALPHA, pesaran_timmermann
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.scaling import standardised
from rnn_core.nn.sequences import Folds, Sequences
from rnn_core.reporting.figures import (
    BLUE,
    COIN_TOSS,
    GREY,
    ORANGE,
    Figure,
    Figures,
    Say,
    canvas,
    direction_strip,
    label,
)
from rnn_core.studies.lesson import Finding, Lesson, Trained, Variant, Variants, sayer, training

DAYS, STEPS, HIDDEN, SHARE, EPOCHS = 300, 10, 16, 0.8, 600
SEED = 42  # of the one RandomState that runs through prices, initial weights and shuffles
STRIP = 40  # days of the figure


def data(study: Study) -> Prices:
    """A trend, a slow wave and noise, as the lesson has always had them."""
    day = np.arange(DAYS)
    close = 100 + 0.08 * day + 3 * np.sin(day / 12) + np.random.RandomState(SEED).normal(size=DAYS)
    frame = pd.DataFrame({"close": close}, index=pd.bdate_range("2024-01-01", periods=DAYS, name="date"))
    return Prices("LESSON", frame, "synthetic", "close", "XNYS")


def variants(study: Study, prices: Prices) -> Variants:
    """One network on returns as they are and one on standardised returns, from the same start in the same order.

    A `study.size` below 1 takes the first days.

    Raises:
        DataError: too few prices.
    """
    close = prices.frame["close"].to_numpy().astype(np.float32)
    if len(close) < 3 * STEPS:
        raise DataError(f"{prices.ticker}: {len(close)} prices found; the lesson needs {3 * STEPS}")
    close = close[: max(round(study.size * len(close)), 3 * STEPS)]
    returns = (np.diff(close) / close[:-1]).astype(float)
    x = np.lib.stride_tricks.sliding_window_view(returns[:-1], STEPS)[..., None]  # (n, T, 1)
    y = (returns[STEPS:] > 0).astype(float)[:, None, None]
    rows = len(x)
    train = np.arange(int(SHARE * rows))
    test = np.arange(len(train), rows)
    scaled = standardised(x, train[None], "float64")
    both = np.concatenate([x, (x - scaled.center) / scaled.scale])
    # The text has one bias where torch has two: here it is the weight of an input that is always 1.
    sequences = Sequences(
        np.concatenate([both, np.ones_like(both)], axis=2),
        np.concatenate([y, y]),
        np.ones((2 * rows, 1), bool),
        loss="textbook_cross_entropy",
        raw=True,
    )
    folds = Folds(np.stack([train, train + rows]), np.empty((2, 0), int), np.stack([test, test + rows]))
    own = training(study, epochs=EPOCHS, batch_size=1, optimiser="sgd", learning_rate=0.005, clip_value=5.0)
    params0, shuffled = _start(len(train), own.epochs)
    order = np.stack([shuffled, shuffled + rows], axis=1)  # (epochs, M, n)
    return {"network": Variant(Model(hidden_size=HIDDEN, bias=False), own, sequences, folds, params0, order)}


def _start(rows: int, epochs: int) -> tuple[Params, Array]:
    """Initial parameters of both models and the order (epochs, rows), drawn where the prices' noise left off."""
    random = np.random.RandomState(SEED)
    random.normal(size=DAYS)
    wx, wh, wy = (random.randn(*shape) * 0.05 for shape in ((1, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1)))
    one = {
        "weight_ih_l0": np.concatenate([wx.T, np.zeros((HIDDEN, 1))], axis=1),
        "weight_hh_l0": wh.T,
        "head.weight": wy.T,
        "head.bias": np.zeros(1),
    }
    params = {name: np.stack([value, value]) for name, value in one.items()}
    return params, np.stack([random.permutation(rows) for _ in range(epochs)])


class Record(NamedTuple):
    """How the calls (n,) of a forecaster fared."""

    called: Array
    accuracy: float
    pvalue: float | None  # Pesaran and Timmermann's; None for constant calls


def finding(study: Study, prices: Prices, trained: dict[str, Trained]) -> Finding:
    """What either network learned, beside the majority class and the opposite of yesterday."""
    network, say = trained["network"], sayer(study)
    sequences, folds = network.variant.sequences, network.variant.folds
    up = sequences.y[folds.test[0], 0, 0]
    raw, scaled = (_record((logits[:, 0, 0] > 0).astype(float), up) for logits in network.logits)
    majority = float(sequences.y[folds.train[0]].mean() > 0.5)
    last = sequences.x[: len(sequences) // 2, -1, 0]
    rose = (last > 0)[folds.test[0]].astype(float)
    records = {"majority": _record(np.full(len(up), majority), up), "reversal": _record(1 - rose, up)}
    autocorrelation = float(np.corrcoef(last[:-1], last[1:])[0, 1])
    loss = network.fit.train_loss
    metrics = {
        "test/accuracy": raw.accuracy,
        "test/accuracy_standardised": scaled.accuracy,
        "train/last_loss": float(loss[0, -1]),
        "train/last_loss_standardised": float(loss[1, -1]),
        "test/share_called_up": float(raw.called.mean()),
        "data/return_autocorrelation": autocorrelation,
        **{f"baseline/{name}_accuracy": record.accuracy for name, record in records.items()},
    }
    sentences = (
        _of_raw(raw, records["majority"], float(loss[0, -1]), say),
        _of_returns(autocorrelation, records["reversal"], say),
        _of_standardised(scaled, float(loss[1, -1]), len(up), say),
    )
    calls = pd.DataFrame({"probability": raw.called, "up": up}, index=prices.frame.index[STEPS + folds.test[0]])
    return Finding(sentences, metrics, _figures(loss, calls, say))


def _record(called: Array, up: Array) -> Record:
    test = pesaran_timmermann(up, called)
    return Record(called, float((called == up).mean()), None if test is None else test.pvalue)


def _of_raw(raw: Record, majority: Record, loss: float, say: Say) -> str:
    share = raw.called.mean()
    if np.array_equal(raw.called, majority.called):
        way = say("up" if share else "down", "상승" if share else "하락")
        return say(
            f"On raw returns the last epoch's loss is {loss:.6f}, ln 2 is {COIN_TOSS:.6f}: the network calls every day "
            f"{way} and its {raw.accuracy:.1%} of {len(raw.called)} test days are those of the majority class "
            f"({majority.accuracy:.1%}). It has learned nothing but a bias.",
            f"원래 수익률로는 마지막 에포크의 손실이 {loss:.6f}이고 ln 2는 {COIN_TOSS:.6f}이다. 신경망은 매일 {way}만 "
            f"예측하며, 테스트 {len(raw.called)}일의 정확도 {raw.accuracy:.1%}는 다수 클래스의 정확도"
            f"({majority.accuracy:.1%})와 같다. 편향 말고는 배운 것이 없다.",
        )
    pvalue = "" if raw.pvalue is None else f" (Pesaran–Timmermann p = {raw.pvalue:.3f})"
    return say(
        f"On raw returns the last epoch's loss is {loss:.6f}, ln 2 is {COIN_TOSS:.6f}; it calls up on {share:.0%} of "
        f"{len(raw.called)} test days and is right on {raw.accuracy:.1%}, the majority class on "
        f"{majority.accuracy:.1%}{pvalue}.",
        f"원래 수익률로는 마지막 에포크의 손실이 {loss:.6f}이고 ln 2는 {COIN_TOSS:.6f}이다. 테스트 "
        f"{len(raw.called)}일 중 {share:.0%}를 상승으로 예측하고 {raw.accuracy:.1%}를 맞혔다. 다수 클래스는 "
        f"{majority.accuracy:.1%}이다{pvalue}.",
    )


def _of_returns(autocorrelation: float, reversal: Record, say: Say) -> str:
    reverses = autocorrelation < -0.2
    return say(
        f"The returns have a lag-1 autocorrelation of {autocorrelation:.2f}: "
        + ("the prices themselves make them reverse, " if reverses else "")
        + f"and “the opposite of yesterday” is right on {reversal.accuracy:.1%} of the test days.",
        f"수익률의 1차 자기상관은 {autocorrelation:.2f}이다. "
        + ("가격을 만드는 식 자체가 수익률을 되돌리므로 " if reverses else "")
        + f"“어제의 반대”라는 규칙이 테스트일의 {reversal.accuracy:.1%}를 맞힌다.",
    )


def _of_standardised(scaled: Record, loss: float, days: int, say: Say) -> str:
    low, high = wilson_interval(round(scaled.accuracy * days), days)
    found = scaled.pvalue is not None and scaled.pvalue <= ALPHA
    return say(
        f"The same network on standardised returns ends at a training loss of {loss:.4f} and is right on "
        f"{scaled.accuracy:.1%} of the test days (95 % interval {low:.0%} to {high:.0%}): "
        + ("the scale of the inputs was what stood in its way." if found else "no skill is shown."),
        f"같은 신경망이 표준화한 수익률로는 학습 손실이 {loss:.4f}까지 가고 테스트일의 {scaled.accuracy:.1%}를 "
        f"맞힌다(95 % 구간 {low:.0%}–{high:.0%}). "
        + ("배움을 막은 것은 입력의 크기였다." if found else "실력이 있다는 증거는 없다."),
    )


def _figures(loss: Array, calls: pd.DataFrame, say: Say) -> Figures:
    title = say("Direction, from scratch", "처음부터 만든 방향 예측")
    return {"loss.png": _losses(loss, title, say), "days.png": direction_strip(calls, title, STRIP, say)}


def _losses(loss: Array, title: str, say: Say) -> Figure:
    """Training loss by epoch (2, epochs) of the raw and the standardised network, beside that of a coin toss."""
    figure, axes = canvas(f"{title}: {say('training loss by epoch', '에포크별 학습 손실')}")
    epochs = np.arange(1, loss.shape[1] + 1)
    names = say("raw returns", "원래 수익률"), say("standardised", "표준화한 수익률")
    for name, line, colour in zip(names, loss, (BLUE, ORANGE), strict=True):
        axes.plot(epochs, line, color=colour, linewidth=1.2)
        label(axes, f"{name}\n{line[-1]:.4f}", epochs[-1], line[-1], colour)
    axes.plot(epochs[[0, -1]], [COIN_TOSS, COIN_TOSS], color=GREY, linestyle="--", linewidth=1)
    coin = say("ln 2, a coin toss", "ln 2, 동전 던지기")
    axes.annotate(coin, (1, COIN_TOSS), xytext=(4, 4), textcoords="offset points", color="0.35")
    axes.set(xlabel=say("epoch", "에포크"), ylabel=say("log loss (nats)", "로그 손실 (nat)"))
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 < tick <= epochs[-1]])
    axes.set_xlim(1, epochs[-1] * 1.25)
    return figure


LESSON = Lesson(data, variants, finding)

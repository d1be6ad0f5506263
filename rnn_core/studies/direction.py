"""The per-sample network of the textbooks on daily directions: what it learns, and what not."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from rnn_core.commands import Study
from rnn_core.config import Model
from rnn_core.data.features import log_returns
from rnn_core.data.prices import Prices
from rnn_core.errors import DataError
from rnn_core.evaluation import names
from rnn_core.evaluation.direction_tests import pesaran_timmermann
from rnn_core.evaluation.metrics import COIN_TOSS, called_up, wilson_interval
from rnn_core.evaluation.significance import ALPHA
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.scaling import standardised
from rnn_core.nn.sequences import Folds, Sequences
from rnn_core.reporting.figures import (
    BLUE,
    DARK_GREY,
    DASHED,
    ORANGE,
    Figure,
    Figures,
    Say,
    canvas,
    direction_strip,
    label,
)
from rnn_core.studies.study import Finding, Steps, Trained, Variant, Variants, sayer, training

DAYS = 300
STEPS = 10
HIDDEN = 16
SHARE = 0.8  # of the windows, for training
EPOCHS = 600
SEED = 42  # of one RandomState for prices, initial weights and shuffles, in this order
STRIP = 40  # days in the figure
REVERSING = -0.2  # an autocorrelation of returns below it is named


def data(study: Study) -> Prices:
    """Return a trend, a slow wave and noise: the prices of the textbook's example."""
    day = np.arange(DAYS)
    close = 100 + 0.08 * day + 3 * np.sin(day / 12) + np.random.RandomState(SEED).normal(size=DAYS)
    dates = pd.bdate_range("2024-01-01", periods=DAYS, name="date")
    frame = pd.DataFrame({"close": close}, index=dates)
    return Prices("STUDY", frame, "synthetic", "close", "XNYS")


def variants(study: Study, prices: Prices) -> Variants:
    """Return two networks, on raw and on standardised returns, from one start in one order.

    A `study.size` below 1 takes the first days.

    Raises:
        DataError: too few prices.
    """
    x, y = _windows(study, prices)
    rows = len(x)
    train = np.arange(int(SHARE * rows))
    test = np.arange(len(train), rows)
    settings = training(
        study, epochs=EPOCHS, batch_size=1, optimiser="sgd", learning_rate=0.005, clip_value=5.0
    )
    params0, shuffled = _start(len(train), settings.epochs)
    return {
        "network": Variant(
            Model(hidden_size=HIDDEN, bias=False),
            settings,
            _raw_and_standardised(x, y, train),
            Folds(
                np.stack([train, train + rows]),
                np.empty((2, 0), int),
                np.stack([test, test + rows]),
            ),
            params0,
            order=np.stack([shuffled, shuffled + rows], axis=1),  # (epochs, M, n)
        )
    }


def tested(prices: Prices, variants: Variants) -> "pd.Series[float]":
    """Return the log return (n,) of the session that each test row is about, by the day before."""
    rows = STEPS + variants["network"].folds.test[0]
    return pd.Series(log_returns(prices.frame)[rows + 1], prices.frame.index[rows])


def _windows(study: Study, prices: Prices) -> tuple[Array, Array]:
    """Return windows of returns (n, T, 1), and whether the next return is up (n, 1, 1)."""
    close = prices.frame["close"].to_numpy().astype(np.float32)
    least = 3 * STEPS
    if len(close) < least:
        raise DataError(f"{prices.ticker}: {len(close)} prices found; the study needs {least}")
    close = close[: max(round(study.size * len(close)), least)]
    returns = (np.diff(close) / close[:-1]).astype(float)
    x = np.lib.stride_tricks.sliding_window_view(returns[:-1], STEPS)[..., None]
    y = (returns[STEPS:] > 0).astype(float)[:, None, None]
    return x, y


def _raw_and_standardised(x: Array, y: Array, train: Array) -> Sequences:
    """Return the windows as they are, and below them standardised by the `train` rows.

    The textbook has one bias and torch has two. Here the bias is the weight of a second input that
    is always 1.
    """
    scaled = standardised(x, train[None], "float64")
    both = np.concatenate([x, (x - scaled.center) / scaled.scale])
    return Sequences(
        np.concatenate([both, np.ones_like(both)], axis=2),
        np.concatenate([y, y]),
        np.ones((len(both), 1), bool),
        loss="textbook_cross_entropy",
        raw=True,
    )


def _start(rows: int, epochs: int) -> tuple[Params, Array]:
    """Return the initial parameters of both models, and the order (epochs, rows).

    They are drawn where the noise of the prices ends.
    """
    random = np.random.RandomState(SEED)
    random.normal(size=DAYS)
    wx = random.randn(1, HIDDEN) * 0.05
    wh = random.randn(HIDDEN, HIDDEN) * 0.05
    wy = random.randn(HIDDEN, 1) * 0.05
    params = {
        "weight_ih_l0": np.concatenate([wx.T, np.zeros((HIDDEN, 1))], axis=1),
        "weight_hh_l0": wh.T,
        "head.weight": wy.T,
        "head.bias": np.zeros(1),
    }
    order = np.stack([random.permutation(rows) for _ in range(epochs)])
    return {name: np.stack([value, value]) for name, value in params.items()}, order


class Record(NamedTuple):
    """The calls (n,) of a forecaster and how good they are."""

    called: Array
    accuracy: float
    pvalue: float | None  # Pesaran and Timmermann's; None for constant calls


class Records(NamedTuple):
    """The records of both networks and both baselines on the same test days."""

    raw: Record
    standardised: Record
    majority: Record
    reversal: Record


def finding(study: Study, prices: Prices, trained: dict[str, Trained]) -> Finding:
    """Compare what either network learned with the majority class and a reversal."""
    say = sayer(study)
    network = trained["network"]
    test = network.variant.folds.test[0]
    up = network.variant.sequences.y[test, 0, 0]
    records = _records(network, up)
    raw = records.raw
    loss = network.fit.train_loss
    last_loss, last_loss_standardised = loss[:, -1].tolist()
    autocorrelation = _autocorrelation(_last_returns(network))
    metrics = {
        names.ACCURACY: raw.accuracy,
        "test/accuracy_standardised": records.standardised.accuracy,
        "train/last_loss": last_loss,
        "train/last_loss_standardised": last_loss_standardised,
        "test/share_called_up": float(raw.called.mean()),
        "data/return_autocorrelation": autocorrelation,
        names.baseline_accuracy("majority"): records.majority.accuracy,
        names.baseline_accuracy("reversal"): records.reversal.accuracy,
    }
    sentences = (
        _of_raw(raw, records.majority, last_loss, say),
        _of_returns(autocorrelation, records.reversal, say),
        _of_standardised(records.standardised, last_loss_standardised, len(up), say),
    )
    days = prices.frame.index[STEPS + test]
    calls = pd.DataFrame({"probability": raw.called, "up": up}, index=days)
    return Finding(sentences, metrics, _figures(loss, calls, say))


def _records(network: Trained, up: Array) -> Records:
    sequences = network.variant.sequences
    folds = network.variant.folds
    raw, scaled = (_record((logits[:, 0, 0] > 0).astype(float), up) for logits in network.logits)
    majority = float(called_up(sequences.y[folds.train[0]].mean()))
    rose = (_last_returns(network) > 0)[folds.test[0]].astype(float)
    return Records(raw, scaled, _record(np.full(len(up), majority), up), _record(1 - rose, up))


def _last_returns(network: Trained) -> Array:
    """Return the last return (n,) of each raw window."""
    x = network.variant.sequences.x
    return np.asarray(x[: len(x) // 2, -1, 0])


def _autocorrelation(returns: Array) -> float:
    """Return the lag-1 autocorrelation."""
    return float(np.corrcoef(returns[:-1], returns[1:])[0, 1])


def _record(called: Array, up: Array) -> Record:
    test = pesaran_timmermann(up, called)
    return Record(called, float((called == up).mean()), None if test is None else test.pvalue)


def _of_raw(raw: Record, majority: Record, loss: float, say: Say) -> str:
    if np.array_equal(raw.called, majority.called):
        return _of_constant_calls(raw, majority, loss, say)
    days = len(raw.called)
    share = raw.called.mean()
    pvalue = "" if raw.pvalue is None else f" (Pesaran–Timmermann p = {raw.pvalue:.3f})"
    return say(
        f"On raw returns the last epoch's loss is {loss:.6f}, ln 2 is {COIN_TOSS:.6f}; it calls up "
        f"on {share:.0%} of {days} test days and is right on {raw.accuracy:.1%}, the majority "
        f"class on {majority.accuracy:.1%}{pvalue}.",
        f"원래 수익률로는 마지막 에포크의 손실이 {loss:.6f}이고 ln 2는 {COIN_TOSS:.6f}이다. 테스트 "
        f"{days}일 중 {share:.0%}를 상승으로 예측하고 {raw.accuracy:.1%}를 맞혔다. 다수 클래스는 "
        f"{majority.accuracy:.1%}이다{pvalue}.",
    )


def _of_constant_calls(raw: Record, majority: Record, loss: float, say: Say) -> str:
    days = len(raw.called)
    way = say("up", "상승") if raw.called.any() else say("down", "하락")
    return say(
        f"On raw returns the last epoch's loss is {loss:.6f}, ln 2 is {COIN_TOSS:.6f}: the network "
        f"calls every day {way}, as the majority class does, and is right on {raw.accuracy:.1%} of "
        f"{days} test days. It has learned nothing but a bias.",
        f"원래 수익률로는 마지막 에포크의 손실이 {loss:.6f}이고 ln 2는 {COIN_TOSS:.6f}이다. "
        f"신경망은 매일 {way}만 예측하며, 테스트 {days}일의 정확도 {raw.accuracy:.1%}는 다수 "
        f"클래스의 정확도({majority.accuracy:.1%})와 같다. 편향 말고는 배운 것이 없다.",
    )


def _of_returns(autocorrelation: float, reversal: Record, say: Say) -> str:
    reverses = autocorrelation < REVERSING
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
    skilled = scaled.pvalue is not None and scaled.pvalue <= ALPHA
    numbers = say(
        f"The same network on standardised returns ends at a training loss of {loss:.4f} and is "
        f"right on {scaled.accuracy:.1%} of the test days "
        f"(95 % interval {low:.0%} to {high:.0%}): ",
        f"같은 신경망이 표준화한 수익률로는 학습 손실이 {loss:.4f}까지 가고 테스트일의 "
        f"{scaled.accuracy:.1%}를 맞힌다(95 % 구간 {low:.0%}–{high:.0%}). ",
    )
    if skilled:
        return numbers + say(
            "the scale of the inputs was the obstacle.", "배움을 막은 것은 입력의 크기였다."
        )
    return numbers + say("it shows no skill.", "실력이 있다는 증거는 없다.")


def _figures(loss: Array, calls: pd.DataFrame, say: Say) -> Figures:
    title = say("Direction, from scratch", "처음부터 만든 방향 예측")
    return {
        "loss.png": _losses(loss, title, say),
        "days.png": direction_strip(calls, title, STRIP, say),
    }


def _losses(loss: Array, title: str, say: Say) -> Figure:
    """Draw the training loss (2, epochs) of both networks, with a coin toss's."""
    figure, axes = canvas(f"{title}: {say('training loss by epoch', '에포크별 학습 손실')}")
    epochs = np.arange(1, loss.shape[1] + 1)
    networks = say("raw returns", "원래 수익률"), say("standardised", "표준화한 수익률")
    for name, line, colour in zip(networks, loss, (BLUE, ORANGE), strict=True):
        axes.plot(epochs, line, color=colour, linewidth=1.2)
        label(axes, f"{name}\n{line[-1]:.4f}", epochs[-1], line[-1], colour)
    axes.plot(epochs[[0, -1]], [COIN_TOSS, COIN_TOSS], **DASHED)
    axes.annotate(
        say("ln 2, a coin toss", "ln 2, 동전 던지기"),
        (1, COIN_TOSS),
        xytext=(4, 4),
        textcoords="offset points",
        color=DARK_GREY,
    )
    axes.set(xlabel=say("epoch", "에포크"), ylabel=say("log loss (nats)", "로그 손실 (nat)"))
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 < tick <= epochs[-1]])
    axes.set_xlim(1, epochs[-1] * 1.25)
    return figure


STUDY = Steps(data, variants, finding)

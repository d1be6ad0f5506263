"""One configuration by two engines: backpropagation by hand and by autograd learn the same."""

import numpy as np

from rnn_core.commands import Study
from rnn_core.config import Model, Problem
from rnn_core.data.prices import Prices
from rnn_core.data.synthetic import random_walk
from rnn_core.data.windows import windows
from rnn_core.evaluation import names
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import holdout
from rnn_core.reporting.figures import BLUE, GREY, ORANGE, RED, Figure, Say, canvases
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

DAYS = 800
FEWEST_DAYS = 60
EDGE = 0.10  # of the probability, above a half, that a direction persists
SHARE = 0.75  # of the windows, for training
SEED = 7
AGREED = 1e-6  # nats: a difference of losses that no figure shows
ZERO = 1e-17  # shown for 0 on a logarithmic scale


def data(study: Study) -> Prices:
    """Return a random walk whose direction persists with probability 0.6."""
    days = max(examples(study, DAYS), FEWEST_DAYS)
    frame = random_walk(days, EDGE, np.random.SeedSequence(SEED))
    frame.index = np.datetime64("2000-01-03") + np.arange(len(frame))
    return Prices("STUDY", frame, "synthetic", "close", "XNYS")


def variants(study: Study, prices: Prices) -> Variants:
    """Return eight default networks by each engine, from one start, on the same batches."""
    built = windows(Problem(), prices)
    train = int(SHARE * built.live)
    folds = holdout(train, 0, built.live - train)
    by_engine = {
        engine: training(study, engine=engine, epochs=30, seeds=8, clip_norm=1.0)
        for engine in ("numpy", "torch")
    }
    return {
        engine: Variant(Model(), settings, built, folds) for engine, settings in by_engine.items()
    }


def finding(study: Study, prices: Prices, trained: dict[str, Trained]) -> Finding:
    """Compare the losses, the parameters and the times of the two engines."""
    say = sayer(study)
    numpy = trained["numpy"]
    torch = trained["torch"]
    losses = np.abs(numpy.fit.train_loss - torch.fit.train_loss)  # (M, epochs)
    params = max(
        np.abs(value - torch.fit.params[name]).max() for name, value in numpy.fit.params.items()
    )
    metrics = {
        names.ACCURACY: _accuracy(numpy),
        "difference/loss": float(losses.max()),
        "difference/params": float(params),
    }
    sentences = (
        _of_differences(_updates(numpy), losses, float(params), say),
        _of_times(numpy.seconds, torch.seconds, say),
    )
    figure = _losses(
        numpy.fit.train_loss.mean(axis=0), torch.fit.train_loss.mean(axis=0), losses, say
    )
    return Finding(sentences, metrics, {"losses.png": figure})


def _accuracy(trained: Trained) -> float:
    """Return the accuracy of all networks on the test rows."""
    up = trained.variant.sequences.y[trained.variant.folds.test[0], 0, 0]
    return float(((trained.logits[..., 0, 0] > 0) == up).mean())


def _updates(trained: Trained) -> int:
    """Return how many updates each network had."""
    rows = trained.variant.folds.train.shape[1]
    batches = -(-rows // trained.variant.training.batch_size)
    return int(trained.fit.train_loss.shape[1] * batches)


def _of_differences(updates: int, losses: Array, params: float, say: Say) -> str:
    """Say how far the losses (M, epochs) and the parameters of the engines are apart."""
    networks = len(losses)
    numbers = say(
        f"After {updates} updates of each of {networks} networks the losses of the two engines "
        f"differ by at most {losses.max():.1e} nats and a parameter by at most {params:.1e}: ",
        f"신경망 {networks}개를 각각 {updates}번 갱신한 뒤 두 엔진의 손실 차이는 최대 "
        f"{losses.max():.1e} nat, 매개변수 차이는 최대 {params:.1e}이다. ",
    )
    if losses.max() <= AGREED:
        return numbers + say(
            "gradients by hand and by autograd are the same.",
            "손으로 쓴 기울기와 자동미분의 기울기는 같다.",
        )
    return numbers + say("more than rounding explains.", "반올림만으로는 설명되지 않는 차이다.")


def _of_times(numpy: float, torch: float, say: Say) -> str:
    """Say how many seconds each engine took."""
    ratio = torch / numpy
    return say(
        f"NumPy took {numpy:.1f} s and torch {torch:.1f} s, {ratio:.1f} times as long, on the same "
        "machine, one after the other.",
        f"같은 기계에서 차례로 돌렸을 때 NumPy는 {numpy:.1f}초, torch는 {torch:.1f}초"
        f"({ratio:.1f}배) 걸렸다.",
    )


def _losses(numpy: Array, torch: Array, differences: Array, say: Say) -> Figure:
    """Draw the mean losses (epochs,) of the engines, and each network's difference (M, epochs)."""
    title = say("The same training by two engines", "두 엔진으로 한 같은 학습")
    figure, ((above,), (below,)) = canvases(title, rows=2, height=5.5)
    epochs = np.arange(1, len(numpy) + 1)
    above.plot(epochs, torch, color=ORANGE, linewidth=5, alpha=0.5, label="torch")
    above.plot(epochs, numpy, color=BLUE, linewidth=1.2, label="NumPy")
    above.set_ylabel(say("training loss (nats)", "학습 손실 (nat)"))
    above.legend(frameon=False)
    below.plot(epochs, np.maximum(differences.T, ZERO), color=GREY, linewidth=0.8)
    below.plot(epochs, np.maximum(differences.max(axis=0), ZERO), color=RED, linewidth=1.6)
    below.set_yscale("log")
    below.set_ylim(ZERO, max(100 * differences.max(), 1e-12))
    below.set_xlabel(say("epoch", "에포크"))
    below.set_ylabel(say("difference (nats): each, largest", "손실 차이 (nat): 각각, 최대"))
    return figure


STUDY = Steps(data, variants, finding)

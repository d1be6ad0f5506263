"""One configuration, two engines: backpropagation by hand and by autograd learn the same."""

import numpy as np

from rnn_core.commands import Study
from rnn_core.config import Model, Problem
from rnn_core.data.loading import random_walk
from rnn_core.data.prices import Prices
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

DAYS, EDGE, SHARE, SEED = 800, 0.10, 0.75, 7
AGREED = 1e-6  # a difference of losses, in nats, that no figure shows


def data(study: Study) -> Prices:
    """A random walk whose direction persists with probability 0.6."""
    frame = random_walk(max(examples(study, DAYS), 60), EDGE, np.random.SeedSequence(SEED))
    frame.index = np.datetime64("2000-01-03") + np.arange(len(frame))
    return Prices("STUDY", frame, "synthetic", "close", "XNYS")


def variants(study: Study, prices: Prices) -> Variants:
    """The default network, eight of them, by either engine from the same start on the same batches."""
    built = windows(Problem(), prices)
    train = int(SHARE * built.live)
    folds = holdout(train, 0, built.live - train)
    return {
        engine: Variant(
            Model(), training(study, engine=engine, epochs=30, seeds=8, clip_norm=1.0), built, folds
        )
        for engine in ("numpy", "torch")
    }


def finding(study: Study, prices: Prices, trained: dict[str, Trained]) -> Finding:
    """How far the losses and the parameters of the two are apart, and how long each took."""
    ours, theirs, say = trained["numpy"], trained["torch"], sayer(study)
    apart = np.abs(ours.fit.train_loss - theirs.fit.train_loss)  # (M, epochs)
    params = max(
        np.abs(value - theirs.fit.params[name]).max() for name, value in ours.fit.params.items()
    )
    up = ours.variant.sequences.y[ours.variant.folds.test[0], 0, 0]
    ratio = theirs.seconds / ours.seconds
    metrics = {
        names.ACCURACY: float(((ours.logits[..., 0, 0] > 0) == up).mean()),
        "difference/loss": float(apart.max()),
        "difference/params": float(params),
    }
    updates = apart.shape[1] * -(
        -(ours.variant.folds.train.shape[1]) // ours.variant.training.batch_size
    )
    agreed = apart.max() <= AGREED
    sentences = (
        say(
            f"After {updates} updates of each of {len(apart)} networks the losses of the two engines differ by at most "
            f"{apart.max():.1e} nats and a parameter by at most {params:.1e}: "
            + (
                "gradients by hand and by autograd are the same."
                if agreed
                else "more than rounding explains at once."
            ),
            f"신경망 {len(apart)}개를 각각 {updates}번 갱신한 뒤 두 엔진의 손실 차이는 최대 {apart.max():.1e} nat, "
            f"매개변수 차이는 최대 {params:.1e}이다. "
            + (
                "손으로 쓴 기울기와 자동미분의 기울기는 같다."
                if agreed
                else "반올림만으로는 설명되지 않는 차이다."
            ),
        ),
        say(
            f"NumPy took {ours.seconds:.1f} s and torch {theirs.seconds:.1f} s, {ratio:.1f} times as long, on the same "
            "machine, one after the other.",
            f"같은 기계에서 차례로 돌렸을 때 NumPy는 {ours.seconds:.1f}초, torch는 {theirs.seconds:.1f}초"
            f"({ratio:.1f}배) 걸렸다.",
        ),
    )
    figure = _losses(
        ours.fit.train_loss.mean(axis=0), theirs.fit.train_loss.mean(axis=0), apart, say
    )
    return Finding(sentences, metrics, {"losses.png": figure})


def _losses(ours: Array, theirs: Array, apart: Array, say: Say) -> Figure:
    """Mean losses (epochs,) of both engines over each other, and how far each network's are apart (M, epochs)."""
    title = say("The same training by two engines", "두 엔진으로 한 같은 학습")
    figure, ((above,), (below,)) = canvases(title, rows=2, height=5.5)
    epochs = np.arange(1, len(ours) + 1)
    above.plot(epochs, theirs, color=ORANGE, linewidth=5, alpha=0.5, label="torch")
    above.plot(epochs, ours, color=BLUE, linewidth=1.2, label="NumPy")
    above.set_ylabel(say("training loss (nats)", "학습 손실 (nat)"))
    above.legend(frameon=False)
    none = 1e-17  # stands for 0 on the log scale
    below.plot(epochs, np.maximum(apart.T, none), color=GREY, linewidth=0.8)
    below.plot(epochs, np.maximum(apart.max(axis=0), none), color=RED, linewidth=1.6)
    below.set_yscale("log")
    below.set_ylim(none, max(100 * apart.max(), 1e-12))
    below.set(
        xlabel=say("epoch", "에포크"),
        ylabel=say("difference (nats): each, largest", "손실 차이 (nat): 각각, 최대"),
    )
    return figure


STUDY = Steps(data, variants, finding)

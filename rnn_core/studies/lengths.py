"""Sequences of different lengths in one batch, classified by how they move."""

from typing import NamedTuple

import numpy as np

from rnn_core.commands import Study
from rnn_core.config import Model
from rnn_core.evaluation import names
from rnn_core.evaluation.metrics import wilson_interval
from rnn_core.nn.arrays import Array
from rnn_core.nn.ensemble import predict
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.reporting.figures import BLUE, DARK_GREY, DASHED, Figure, Say, canvas, label
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

CLASSES = 5
FEATURES = 10
SHORTEST = 3
LONGEST = 40
TRAIN = 4000
TEST = 2000
EPOCHS = 20
KEPT = 0.5  # weight of a step in the next one
STREAM = 11  # of the data, with the study's seed
BINS = ((3, 5), (6, 10), (11, 15), (16, 20), (21, 25), (26, 30), (31, 35), (36, 40))
CHANCE = 1 / CLASSES


def data(study: Study) -> Sequences:
    """Return sequences x_t = a·Q_c x_{t−1} + √(1 − a²)·ε_t of 3 to 40 steps, of five classes c.

    Each class has its own orthogonal Q_c. ε_t and x_0 are standard normal, and so is every step of
    every class: one step alone tells nothing about the class.
    """
    rng = np.random.default_rng([STREAM, study.training.seed])
    count = examples(study, TRAIN) + examples(study, TEST)
    movements = np.linalg.qr(rng.normal(size=(CLASSES, FEATURES, FEATURES)))[0]
    classes = rng.integers(CLASSES, size=count)
    lengths = rng.integers(SHORTEST, LONGEST + 1, count)
    x = rng.normal(size=(LONGEST, count, FEATURES))
    for t in range(1, LONGEST):
        moved = np.einsum("nij,nj->ni", movements[classes], x[t - 1])
        x[t] = KEPT * moved + (1 - KEPT**2) ** 0.5 * x[t]
    x = np.where(_padding(lengths), 0, x.swapaxes(0, 1))
    y = np.eye(CLASSES)[classes][:, None]
    scored = np.ones((count, 1), bool)
    return Sequences(x, y, scored, lengths=lengths, loss="cross_entropy", raw=True)


def _padding(lengths: Array) -> Array:
    """Return a mask (N, T, 1) of the steps after the end of each sequence."""
    return np.asarray(np.arange(LONGEST) >= lengths[:, None])[..., None]


def variants(study: Study, sequences: Sequences) -> Variants:
    """Return two stacked GRU layers with dropout between them, read at the last valid step."""
    settings = training(
        study, dtype="float32", epochs=EPOCHS, batch_size=64, learning_rate=5e-3, schedule="cosine"
    )
    model = Model(cell="gru", hidden_size=32, num_layers=2, dropout=0.2)
    folds = holdout(examples(study, TRAIN), 0, examples(study, TEST))
    return {"network": Variant(model, settings, sequences, folds)}


class Bin(NamedTuple):
    """Accuracy on sequences of similar length, with its 95 % interval."""

    middle: float  # of the lengths
    accuracy: float
    low: float
    high: float


def finding(study: Study, sequences: Sequences, trained: dict[str, Trained]) -> Finding:
    """Measure how often the class is recognised, by length, and what other padding changes."""
    say = sayer(study)
    network = trained["network"]
    folds = network.variant.folds
    lengths = np.asarray(sequences.lengths)[folds.test[0]]
    classes = _classes(sequences, folds.test[0])
    most_frequent = np.bincount(_classes(sequences, folds.train[0])).argmax()
    logits = network.logits
    called = logits[0, :, 0].argmax(axis=1)
    hit = called == classes
    changed = _changed_by_padding(network, logits)
    metrics = {
        names.ACCURACY: float(hit.mean()),
        names.baseline_accuracy("majority"): float((classes == most_frequent).mean()),
        **{f"test/changed_by_{name}_padding": float(count) for name, count in changed.items()},
        **_extremes(hit, lengths),
    }
    bins = _by_length(hit, lengths)
    sentences = (_of_lengths(hit, bins, say), _of_padding(max(changed.values()), logits.size, say))
    figures = {
        "accuracy.png": _accuracy(bins, say),
        "confusion.png": _confusion(classes, called, say),
    }
    return Finding(sentences, metrics, figures)


def _classes(sequences: Sequences, rows: Array) -> Array:
    return np.asarray(sequences.y[rows, 0].argmax(axis=1))


def _extremes(hit: Array, lengths: Array) -> dict[str, float]:
    """Return the accuracy on the shortest and on the longest sequences, where there are any."""
    groups = {"short": hit[lengths <= BINS[0][1]], "long": hit[lengths >= BINS[-1][0]]}
    return {
        f"test/accuracy_{name}": float(hits.mean()) for name, hits in groups.items() if len(hits)
    }


def _changed_by_padding(network: Trained, logits: Array) -> dict[str, int]:
    """Count the logits (1, s, 1, 5) whose bits change if other values fill the padding."""
    sequences = network.variant.sequences
    rows = network.variant.folds.test
    padding = _padding(np.asarray(sequences.lengths))
    fillers = {
        "random": np.random.default_rng(STREAM).normal(0, 100, sequences.x.shape),
        "nan": np.array(np.nan),
    }
    bits = f"u{logits.itemsize}"
    changed = {}
    for name, filler in fillers.items():
        x = np.where(padding, filler, sequences.x)
        refilled = predict(network.fit, x, rows, sequences.lengths)
        changed[name] = int((refilled.view(bits) != logits.view(bits)).sum())
    return changed


def _by_length(hit: Array, lengths: Array) -> list[Bin]:
    """Return the accuracy in each bin of lengths that is not empty."""
    bins = []
    for first, last in BINS:
        hits = hit[(lengths >= first) & (lengths <= last)]
        if len(hits):
            interval = wilson_interval(int(hits.sum()), len(hits))
            bins.append(Bin((first + last) / 2, float(hits.mean()), *interval))
    return bins


def _of_lengths(hit: Array, bins: list[Bin], say: Say) -> str:
    shortest = bins[0]
    longest = bins[-1]
    numbers = say(
        f"Of five classes that differ only in how they move, the network recognises "
        f"{hit.mean():.1%}, where chance is {CHANCE:.0%}: {shortest.accuracy:.0%} of the shortest "
        f"sequences and {longest.accuracy:.0%} of the longest. ",
        f"움직이는 방식만 다른 다섯 클래스를 {hit.mean():.1%} 알아본다(우연은 {CHANCE:.0%}). "
        f"가장 짧은 시퀀스에서는 {shortest.accuracy:.0%}, 가장 긴 시퀀스에서는 "
        f"{longest.accuracy:.0%}이다. ",
    )
    if longest.low > shortest.high:
        return numbers + say("A movement takes time to see.", "움직임은 시간이 지나야 보인다.")
    return numbers + say(
        "Length makes no visible difference here.",
        "길이에 따른 차이는 여기서 드러나지 않는다.",
    )


def _of_padding(changed: int, outputs: int, say: Say) -> str:
    layout = say(
        "All sequences are in one array, the short ones padded. ",
        "모든 시퀀스가 한 배열에 있고 짧은 것은 뒤를 채웠다. ",
    )
    if changed == 0:
        return layout + say(
            "Filling the padding with random numbers or NaN changes no bit of the "
            f"{outputs:,} outputs.",
            f"채운 자리에 난수나 NaN을 넣어도 출력 {outputs:,}개 가운데 한 비트도 달라지지 않는다.",
        )
    return layout + say(
        f"Filling the padding with random numbers or NaN changes {changed:,} outputs: "
        "padding leaks.",
        f"채운 자리에 난수나 NaN을 넣으면 출력 {changed:,}개가 달라진다. 채운 값이 새어 든다.",
    )


def _accuracy(bins: list[Bin], say: Say) -> Figure:
    """Draw the accuracy by length with its 95 % interval, and chance."""
    figure, axes = canvas(
        say("Five ways to move: accuracy by length", "다섯 가지 움직임: 길이별 정확도")
    )
    middle, accuracy, low, high = np.array(bins).T
    axes.errorbar(
        middle,
        accuracy,
        [accuracy - low, high - accuracy],
        color=BLUE,
        marker="o",
        capsize=3,
        linewidth=1,
    )
    axes.plot([SHORTEST, LONGEST], [CHANCE, CHANCE], **DASHED)
    label(axes, say("chance", "우연"), LONGEST, CHANCE, DARK_GREY)
    axes.set(xlim=(SHORTEST - 1, LONGEST + 5), ylim=(0, 1.02))
    axes.set_xlabel(say("length (steps)", "길이 (시점)"))
    axes.set_ylabel(say("accuracy (95 % interval)", "정확도 (95 % 구간)"))
    return figure


def _confusion(classes: Array, called: Array, say: Say) -> Figure:
    """Draw which share of each class (rows) was called which class (columns)."""
    counts = np.zeros((CLASSES, CLASSES))
    np.add.at(counts, (classes, called), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = canvas(say("Confusion matrix", "혼동 행렬"), height=4)
    axes.pcolormesh(shares, cmap="cividis", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share < 0.5 else "black"
        middle = column + 0.5, row + 0.5
        axes.annotate(f"{share:.0%}", middle, ha="center", va="center", color=colour)
    ticks = np.arange(CLASSES) + 0.5
    numbers = [str(number) for number in range(1, CLASSES + 1)]
    axes.set_xticks(ticks, numbers)
    axes.set_yticks(ticks, numbers)
    axes.set(xlabel=say("class called", "예측한 클래스"), ylabel=say("class", "실제 클래스"))
    return figure


STUDY = Steps(data, variants, finding)

"""Sequences of different lengths in one batch: the classes differ in how they move, and that takes time to see."""

import numpy as np

from rnn_core.config import Model, Study
from rnn_core.evaluation.metrics import wilson_interval
from rnn_core.nn.arrays import Array
from rnn_core.nn.ensemble import predict
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.reporting.figures import BLUE, GREY, Figure, Say, canvas, label
from rnn_core.studies.lesson import Finding, Lesson, Trained, Variant, Variants, examples, sayer, training

CLASSES, FEATURES, SHORTEST, LONGEST = 5, 10, 3, 40
TRAIN, TEST, EPOCHS = 4000, 2000, 20
KEPT = 0.5  # of a step that the next one is made of
STREAM = 11  # of the data, beside the study's seed
BINS = ((3, 5), (6, 10), (11, 15), (16, 20), (21, 25), (26, 30), (31, 35), (36, 40))


def data(study: Study) -> Sequences:
    """Sequences x_t = a·Q_c x_{t−1} + √(1 − a²)·ε_t of 3 to 40 steps, Q_c orthogonal, one for each of five classes c.

    ε_t and x_0 are standard normal, and so is every step of every class: one step alone tells nothing.
    """
    rng = np.random.default_rng([STREAM, study.training.seed])
    count = examples(study, TRAIN) + examples(study, TEST)
    movements = np.linalg.qr(rng.normal(size=(CLASSES, FEATURES, FEATURES)))[0]
    classes, lengths = rng.integers(CLASSES, size=count), rng.integers(SHORTEST, LONGEST + 1, count)
    x = rng.normal(size=(LONGEST, count, FEATURES))
    for t in range(1, LONGEST):
        x[t] = KEPT * np.einsum("nij,nj->ni", movements[classes], x[t - 1]) + (1 - KEPT**2) ** 0.5 * x[t]
    padding = np.arange(LONGEST) >= lengths[:, None]  # (N, T)
    x = np.where(padding[..., None], 0, x.swapaxes(0, 1))
    y = np.eye(CLASSES)[classes][:, None]
    return Sequences(x, y, np.ones((count, 1), bool), lengths=lengths, loss="cross_entropy", raw=True)


def variants(study: Study, sequences: Sequences) -> Variants:
    """Two stacked layers of gated units with dropout between them; the last valid step is read."""
    own = training(study, dtype="float32", epochs=EPOCHS, batch_size=64, learning_rate=5e-3, schedule="cosine")
    model = Model(cell="gru", hidden_size=32, num_layers=2, dropout=0.2)
    folds = holdout(examples(study, TRAIN), 0, examples(study, TEST))
    return {"network": Variant(model, own, sequences, folds)}


def finding(study: Study, sequences: Sequences, trained: dict[str, Trained]) -> Finding:
    """How often the class is recognised, by length, and what changes when only the padding does."""
    network, say = trained["network"], sayer(study)
    rows = network.variant.folds.test[0]
    lengths, classes = np.asarray(sequences.lengths)[rows], sequences.y[rows, 0].argmax(axis=1)
    logits = network.logits
    hit = logits[0, :, 0].argmax(axis=1) == classes
    most = np.bincount(sequences.y[network.variant.folds.train[0], 0].argmax(axis=1)).argmax()
    changed = _changed_by_padding(network, logits)
    short, long = hit[lengths <= BINS[0][1]], hit[lengths >= BINS[-1][0]]
    metrics = {"test/accuracy": float(hit.mean()), "baseline/majority_accuracy": float((classes == most).mean())}
    metrics |= {f"test/changed_by_{filler}_padding": float(count) for filler, count in changed.items()}
    metrics |= {f"test/accuracy_{name}": float(of.mean()) for name, of in (("short", short), ("long", long)) if len(of)}
    table = _by_length(hit, lengths)
    sentences = (_of_lengths(hit, table, say), _of_padding(max(changed.values()), logits.size, say))
    return Finding(
        sentences,
        metrics,
        {
            "accuracy.png": _accuracy(table, say),
            "confusion.png": _confusion(classes, logits[0, :, 0].argmax(axis=1), say),
        },
    )


def _changed_by_padding(network: Trained, logits: Array) -> dict[str, int]:
    """How many of the logits (1, s, 1, 5) have other bits once what lies beyond each length is something else."""
    sequences, rows = network.variant.sequences, network.variant.folds.test
    beyond = np.arange(LONGEST) >= np.asarray(sequences.lengths)[:, None]
    fillers = {"random": np.random.default_rng(STREAM).normal(0, 100, sequences.x.shape), "nan": np.array(np.nan)}
    other = {name: np.where(beyond[..., None], filler, sequences.x) for name, filler in fillers.items()}
    found = {name: predict(network.fit, x, rows, sequences.lengths) for name, x in other.items()}
    bits = f"u{logits.itemsize}"
    return {name: int((values.view(bits) != logits.view(bits)).sum()) for name, values in found.items()}


def _by_length(hit: Array, lengths: Array) -> list[tuple[float, float, float, float]]:
    """(middle of the lengths, accuracy, low, high) of each bin that is not empty, with its 95 % interval."""
    bins = [(first, last, hit[(lengths >= first) & (lengths <= last)]) for first, last in BINS]
    return [
        ((first + last) / 2, float(of.mean()), *wilson_interval(int(of.sum()), len(of)))
        for first, last, of in bins
        if len(of)
    ]


def _of_lengths(hit: Array, table: list[tuple[float, float, float, float]], say: Say) -> str:
    (_, short, _, short_high), (_, long, long_low, _) = table[0], table[-1]
    longer_is_better = long_low > short_high
    return say(
        f"Of five classes that differ only in how they move, the network recognises {hit.mean():.1%} where chance is "
        f"{1 / CLASSES:.0%}: {short:.0%} of the shortest sequences and {long:.0%} of the longest. "
        + ("A movement takes time to see." if longer_is_better else "Length makes no difference that shows here."),
        f"움직이는 방식만 다른 다섯 클래스를 {hit.mean():.1%} 알아본다(우연은 {1 / CLASSES:.0%}). 가장 짧은 "
        f"시퀀스에서는 {short:.0%}, 가장 긴 시퀀스에서는 {long:.0%}이다. "
        + ("움직임은 시간이 지나야 보인다." if longer_is_better else "길이에 따른 차이는 여기서 드러나지 않는다."),
    )


def _of_padding(changed: int, of: int, say: Say) -> str:
    return say(
        "All sequences stand in one array, the short ones padded. "
        + (
            f"Filling the padding with random numbers or NaN changes no bit of the {of:,} outputs."
            if changed == 0
            else f"Filling the padding with random numbers or NaN changes {changed:,} outputs: padding leaks."
        ),
        "모든 시퀀스가 한 배열에 있고 짧은 것은 뒤를 채웠다. "
        + (
            f"채운 자리에 난수나 NaN을 넣어도 출력 {of:,}개 가운데 한 비트도 달라지지 않는다."
            if changed == 0
            else f"채운 자리에 난수나 NaN을 넣으면 출력 {changed:,}개가 달라진다. 채운 값이 새어 든다."
        ),
    )


def _accuracy(table: list[tuple[float, float, float, float]], say: Say) -> Figure:
    """Accuracy by length with its 95 % interval, beside chance."""
    figure, axes = canvas(say("Five ways to move: accuracy by length", "다섯 가지 움직임: 길이별 정확도"))
    middle, accuracy, low, high = np.array(table).T
    axes.errorbar(middle, accuracy, [accuracy - low, high - accuracy], color=BLUE, marker="o", capsize=3, linewidth=1)
    axes.plot([SHORTEST, LONGEST], [1 / CLASSES, 1 / CLASSES], color=GREY, linestyle="--", linewidth=1)
    label(axes, say("chance", "우연"), LONGEST, 1 / CLASSES, "0.35")
    axes.set(
        xlabel=say("length (steps)", "길이 (단계)"),
        ylabel=say("accuracy (95 % interval)", "정확도 (95 % 구간)"),
        xlim=(SHORTEST - 1, LONGEST + 5),
        ylim=(0, 1.02),
    )
    return figure


def _confusion(classes: Array, called: Array, say: Say) -> Figure:
    """Shares of the classes that were called (columns), by what they are (rows)."""
    counts = np.zeros((CLASSES, CLASSES))
    np.add.at(counts, (classes, called), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = canvas(say("What is taken for what", "무엇을 무엇으로 보는가"), height=4)
    axes.pcolormesh(shares, cmap="cividis", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share < 0.5 else "black"
        axes.annotate(f"{share:.0%}", (column + 0.5, row + 0.5), ha="center", va="center", color=colour)
    names = [str(number) for number in range(1, CLASSES + 1)]
    axes.set_xticks(np.arange(CLASSES) + 0.5, names)
    axes.set_yticks(np.arange(CLASSES) + 0.5, names)
    axes.set(xlabel=say("class called", "예측한 클래스"), ylabel=say("class", "실제 클래스"))
    return figure


LESSON = Lesson(data, variants, finding)

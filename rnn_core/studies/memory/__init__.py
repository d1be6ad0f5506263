"""The memory cell of an LSTM: step by step, the units that keep a bit, and torch's shapes."""

from typing import Any, NamedTuple

import numpy as np

from rnn_core.commands import Study
from rnn_core.config import Model
from rnn_core.evaluation import names
from rnn_core.evaluation.metrics import COIN_TOSS
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.studies.memory.cell import (
    HIDDEN,
    INPUTS,
    STEPS,
    Memory,
    Walk,
    difference_from_the_whole,
    memory_of,
    recurrent_params,
    refusal,
    step_by_step,
)
from rnn_core.studies.memory.figures import keeping_figure, losses_figure, states_figure
from rnn_core.studies.memory.sentences import of_directions, of_memory, of_steps, of_torch
from rnn_core.studies.memory.shapes import SHOWN, Row, compared, markdown
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

TRAIN = 512
TEST = 200
EPOCHS = 20
STREAM = 4  # of the data, with the study's seed
NETWORKS: dict[str, dict[str, Any]] = {
    "one": {},
    "deep": {"num_layers": 2},
    "bidirectional": {"bidirectional": True},
}


def data(study: Study) -> Sequences:
    """Return noise whose first step brings a bit, ±1, in its first input; the bit is the target."""
    rows = examples(study, TRAIN) + examples(study, TEST)
    x = np.random.default_rng([study.training.seed, STREAM]).normal(size=(rows, STEPS, INPUTS))
    x[:, 0, 0] = np.where(np.arange(rows) % 2, -1, 1)
    return Sequences(x, (x[:, :1, :1] > 0).astype(float), np.ones((rows, 1), bool), raw=True)


def variants(study: Study, sequences: Sequences) -> Variants:
    """Return an LSTM of one layer, one of two, and one that reads in both directions."""
    folds = holdout(examples(study, TRAIN), 0, examples(study, TEST))
    settings = training(study, epochs=EPOCHS, learning_rate=0.01, clip_norm=1.0)
    models = {
        name: Model(cell="lstm", hidden_size=HIDDEN, **options)
        for name, options in NETWORKS.items()
    }
    return {name: Variant(model, settings, sequences, folds) for name, model in models.items()}


class Result(NamedTuple):
    """What the study measures.

    Attributes:
        bit: (N,) of the test sequences.
        accuracy: by network.
        learned: by network, the first epoch with a training loss below half a coin toss's, if any.
        walk: of the network of one layer through the test sequences.
        memory: of its units.
        difference: of its steps from the whole pass.
        table: the arrays that the networks return.
    """

    bit: Array
    accuracy: dict[str, float]
    learned: dict[str, int | None]
    walk: Walk
    memory: Memory
    difference: float
    table: list[Row]


def finding(study: Study, sequences: Sequences, trained: dict[str, Trained]) -> Finding:
    """Find the unit that keeps the bit, and compare steps with the whole pass and with torch."""
    say = sayer(study)
    result = _result(sequences, trained)
    walk = result.walk
    memory = result.memory
    sentences = (
        of_memory(result.accuracy, memory, walk, len(result.bit), say),
        of_directions(result.accuracy["bidirectional"], result.learned, say),
        of_steps(result.difference, refusal(), say),
        of_torch(result.table, say),
    )
    figures = {
        "states.png": states_figure(walk, result.bit, memory.unit, say),
        "memory.png": keeping_figure(walk, memory, say),
        "loss.png": losses_figure(trained, say),
    }
    files = {"shapes.md": markdown(result.table, say)}
    return Finding(sentences, _metrics(result), figures, files)


def _result(sequences: Sequences, trained: dict[str, Trained]) -> Result:
    one_layer = trained["one"]
    tests = sequences.x[one_layer.variant.folds.test[0]]  # (N, T, I)
    bit = tests[:, 0, 0]
    params = recurrent_params(one_layer)
    walk = step_by_step(params, tests)
    table: list[Row] = []
    for name, network in trained.items():
        table += compared(name, network, tests[:SHOWN])
    return Result(
        bit=bit,
        accuracy={name: _accuracy(network, bit) for name, network in trained.items()},
        learned={name: _learned(network) for name, network in trained.items()},
        walk=walk,
        memory=memory_of(walk, bit),
        difference=difference_from_the_whole(walk, params, tests),
        table=table,
    )


def _accuracy(trained: Trained, bit: Array) -> float:
    return float(((trained.logits[0, :, 0, 0] > 0) == (bit > 0)).mean())


def _learned(trained: Trained) -> int | None:
    below = np.flatnonzero(trained.fit.train_loss[0] < COIN_TOSS / 2)
    return int(below[0]) + 1 if len(below) else None


def _metrics(result: Result) -> dict[str, float]:
    """Return the metrics; those that are undefined are left out."""
    metrics = {
        names.ACCURACY: result.accuracy["one"],
        "test/accuracy_deep": result.accuracy["deep"],
        "test/accuracy_bidirectional": result.accuracy["bidirectional"],
        "memory/correlation": result.memory.last,
        "by_hand/largest_difference": result.difference,
    }
    metrics |= {f"learned/epoch_{name}": epoch for name, epoch in result.learned.items() if epoch}
    if result.memory.since:
        metrics["memory/kept_from_step"] = result.memory.since
    differences = [row.difference for row in result.table if row.difference is not None]
    if differences:
        metrics["torch/largest_difference"] = max(differences)
    return metrics


STUDY = Steps(data, variants, finding)

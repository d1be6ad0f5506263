"""The memory cell of an LSTM: step by step, what its units keep, and what deep and two-way networks hand back."""

from typing import Any

import numpy as np

from rnn_core.commands import Study
from rnn_core.config import Model
from rnn_core.evaluation import names
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.reporting.figures import (
    COIN_TOSS,
)
from rnn_core.studies.memory.cell import (
    HIDDEN,
    INPUTS,
    STEPS,
    difference_from_the_whole,
    memory_of,
    recurrent_params,
    refusal,
    step_by_step,
)
from rnn_core.studies.memory.figures import keeping_figure, losses_figure, states_figure
from rnn_core.studies.memory.sentences import of_directions, of_memory, of_steps, of_torch
from rnn_core.studies.memory.shapes import SHOWN, compared, markdown
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
STREAM = 4  # this study's own random numbers
NETWORKS: dict[str, dict[str, Any]] = {
    "one": {},
    "deep": {"num_layers": 2},
    "bidirectional": {"bidirectional": True},
}


def data(study: Study) -> Sequences:
    """The first step brings a bit, ±1, in its first input; all else is noise, and at the end the bit is asked for."""
    rows = examples(study, TRAIN) + examples(study, TEST)
    x = np.random.default_rng([study.training.seed, STREAM]).normal(size=(rows, STEPS, INPUTS))
    x[:, 0, 0] = np.where(np.arange(rows) % 2, -1, 1)
    return Sequences(x, (x[:, :1, :1] > 0).astype(float), np.ones((rows, 1), bool), raw=True)


def variants(study: Study, sequences: Sequences) -> Variants:
    """An LSTM of one layer, one of two, and one that reads in both directions."""
    folds = holdout(examples(study, TRAIN), 0, examples(study, TEST))
    own = training(study, epochs=EPOCHS, learning_rate=0.01, clip_norm=1.0)
    models = {
        name: Model(cell="lstm", hidden_size=HIDDEN, **options)
        for name, options in NETWORKS.items()
    }
    return {name: Variant(model, own, sequences, folds) for name, model in models.items()}


def finding(study: Study, sequences: Sequences, trained: dict[str, Trained]) -> Finding:
    """Which unit keeps the bit, that steps make up the whole, and whether torch hands back the same."""
    say = sayer(study)
    tests = sequences.x[trained["one"].variant.folds.test[0]]  # (N, T, I)
    bit = tests[:, 0, 0]
    accuracy = {
        name: float(((one.logits[0, :, 0, 0] > 0) == (bit > 0)).mean())
        for name, one in trained.items()
    }
    walk = step_by_step(recurrent_params(trained["one"]), tests)
    difference = difference_from_the_whole(walk, recurrent_params(trained["one"]), tests)
    memory = memory_of(walk, bit)
    learned = {name: _learned(one) for name, one in trained.items()}
    table = [row for name, one in trained.items() for row in compared(name, one, tests[:SHOWN])]
    apart = [row.difference for row in table if row.difference is not None]
    metrics = {
        names.ACCURACY: accuracy["one"],
        "test/accuracy_deep": accuracy["deep"],
        "test/accuracy_bidirectional": accuracy["bidirectional"],
        "memory/correlation": memory.last,
        "by_hand/largest_difference": difference,
        **{f"learned/epoch_{name}": epoch for name, epoch in learned.items() if epoch},
        **({"memory/kept_from_step": memory.since} if memory.since else {}),
        **({"torch/largest_difference": max(apart)} if apart else {}),
    }
    sentences = (
        of_memory(accuracy, memory, walk, len(bit), say),
        of_directions(accuracy["bidirectional"], learned, say),
        of_steps(difference, refusal(), say),
        of_torch(table, say),
    )
    figures = {
        "states.png": states_figure(walk, bit, memory.unit, say),
        "memory.png": keeping_figure(walk, memory, say),
        "loss.png": losses_figure(trained, say),
    }
    return Finding(sentences, metrics, figures, {"shapes.md": markdown(table, say)})


def _learned(one: Trained) -> int | None:
    """The epoch, from 1, whose training loss is the first below half that of a coin toss; None without one."""
    below = np.flatnonzero(one.fit.train_loss[0] < COIN_TOSS / 2)
    return int(below[0]) + 1 if len(below) else None


STUDY = Steps(data, variants, finding)

"""Three stacked layers by hand on two toy sequences: what is right learns, and the gradient check tells what is not."""

import numpy as np

from rnn_core.commands import Study
from rnn_core.nn.arrays import Array
from rnn_core.nn.losses import LOSSES
from rnn_core.nn.sequences import Folds, Sequences
from rnn_core.studies.stacked.check import TOYS, X, gradient_errors
from rnn_core.studies.stacked.figures import checks_figure, curves_figure
from rnn_core.studies.stacked.sentences import of_faults, of_losses, of_right
from rnn_core.studies.study import Finding, Steps, Trained, Variant, Variants, sayer, training

EPOCHS = 400


def data(study: Study) -> Array:
    """(N, T, I) the two sequences of three steps; there are no more, whatever `study.size` is."""
    return X


def variants(study: Study, x: Array) -> Variants:
    """Sigmoid output and squared error behind tanh and behind PReLU, and a softmax output behind tanh.

    Both sequences are trained on and tested: the question is whether a network learns at all.
    """
    rows = np.arange(len(x))[None]
    folds = Folds(rows, np.empty((1, 0), int), rows)
    own = training(study, epochs=EPOCHS, batch_size=len(x), learning_rate=0.01)
    scored = np.ones((len(x), 1), bool)
    return {
        name: Variant(toy.model, own, Sequences(x, toy.y, scored, loss=toy.loss, raw=True), folds)
        for name, toy in TOYS.items()
    }


def finding(study: Study, x: Array, trained: dict[str, Trained]) -> Finding:
    """Whether each network learned its two sequences, and which implementation the gradient check lets pass."""
    say, errors = sayer(study), gradient_errors(study.training.seed)
    losses = {name: _loss(part) for name, part in trained.items()}
    curves = {name: part.fit.train_loss[0] for name, part in trained.items()}
    metrics = {
        "test/mse": losses["tanh"],
        "test/mse_prelu": losses["prelu"],
        "test/cross_entropy_softmax": losses["softmax"],
        **{f"check/{name}": error for name, error in errors.items()},
    }
    sentences = (
        of_losses(losses, len(curves["tanh"]), say),
        of_right(errors, say),
        of_faults(errors, say),
    )
    return Finding(
        sentences,
        metrics,
        {"loss.png": curves_figure(curves, say), "gradient-check.png": checks_figure(errors, say)},
    )


def _loss(trained: Trained) -> float:
    """The loss after the last update, of both sequences."""
    sequences, logits = trained.variant.sequences, trained.logits
    return float(
        LOSSES[sequences.loss](logits, sequences.y[None], sequences.mask[None], None)[0][0]
    )


STUDY = Steps(data, variants, finding)

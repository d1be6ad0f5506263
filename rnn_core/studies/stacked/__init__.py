"""Three stacked layers by hand on two toy sequences, and the gradient check that finds faults."""

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
    """Return the two sequences of three steps (N, T, I), whatever `study.size` is."""
    return X


def variants(study: Study, x: Array) -> Variants:
    """Return networks of tanh and PReLU with squared error, and one of tanh with a softmax.

    Both sequences are trained on and tested: the question is whether a network learns at all.
    """
    rows = np.arange(len(x))[None]
    folds = Folds(rows, np.empty((1, 0), int), rows)
    settings = training(study, epochs=EPOCHS, batch_size=len(x), learning_rate=0.01)
    scored = np.ones((len(x), 1), bool)
    return {
        name: Variant(
            toy.model, settings, Sequences(x, toy.y, scored, loss=toy.loss, raw=True), folds
        )
        for name, toy in TOYS.items()
    }


def finding(study: Study, x: Array, trained: dict[str, Trained]) -> Finding:
    """Find which networks learned, and which implementations pass the gradient check."""
    say = sayer(study)
    errors = gradient_errors(study.training.seed)
    losses = {name: _loss(network) for name, network in trained.items()}
    curves = {name: network.fit.train_loss[0] for name, network in trained.items()}
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
    figures = {
        "loss.png": curves_figure(curves, say),
        "gradient-check.png": checks_figure(errors, say),
    }
    return Finding(sentences, metrics, figures)


def _loss(trained: Trained) -> float:
    """Return the loss of both sequences after the last update."""
    sequences = trained.variant.sequences
    loss = LOSSES[sequences.loss]
    losses, _ = loss(trained.logits, sequences.y[None], sequences.mask[None], None)
    return float(losses[0])


STUDY = Steps(data, variants, finding)

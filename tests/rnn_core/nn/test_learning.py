"""It learns what recurrent networks are known to learn, and fails where they are known to fail."""

import numpy as np
import pytest

from rnn_core.config import Model, Training
from rnn_core.nn.arrays import Array
from rnn_core.nn.ensemble import predict
from rnn_core.nn.layers import GATES
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.nn.settings import Cell
from rnn_core.nn.training import Fit, fit

SEEDS = 3
LAG, DELAY = 50, 10


@pytest.mark.parametrize("cell", GATES)
def test_every_seed_overfits_eight_samples_by_heart(cell: Cell) -> None:
    rng = np.random.default_rng(0)
    twice = np.tile(
        np.arange(8), 2
    )  # the same eight validate: their loss is that of the parameters kept
    x, y = rng.normal(size=(8, 6, 2))[twice], rng.normal(size=(8, 1, 1))[twice]
    built = Sequences(x, y, np.ones((16, 1), bool), loss="mean_squared_error")
    training = Training(epochs=200, patience=200, batch_size=8, learning_rate=0.05, seeds=SEEDS)
    fitted = fit(Model(cell=cell, hidden_size=16), training, built, holdout(8, 8, 0))
    assert fitted.valid_loss[:, 0].min() > 0.3
    assert np.nanmin(fitted.valid_loss, axis=1).max() < 1e-4


def adding(rows: int) -> Sequences:
    """Make the adding problem (Hochreiter and Schmidhuber 1997): the sum of two marked numbers.

    The numbers are in [0, 1). The first mark is in the first half of `LAG` steps, the second in the
    second. The answer is due at the end; always answering the mean, 1, has a squared error of
    2/12 = 0.167.
    """
    rng = np.random.default_rng(0)
    x, row = np.zeros((rows, LAG, 2)), np.arange(rows)
    x[..., 0] = rng.random((rows, LAG))
    first, second = rng.integers(0, LAG // 2, rows), rng.integers(LAG // 2, LAG, rows)
    x[row, first, 1] = x[row, second, 1] = 1
    total = x[row, first, 0] + x[row, second, 0]
    return Sequences(x, total[:, None, None], np.ones((rows, 1), bool), loss="mean_squared_error")


def added(cell: Cell, epochs: int, learning_rate: float) -> Fit:
    training = Training(
        epochs=epochs,
        patience=epochs,
        batch_size=50,
        learning_rate=learning_rate,
        schedule="cosine",
        dtype="float32",
        seeds=SEEDS,
    )
    return fit(Model(cell=cell, hidden_size=16), training, adding(2500), holdout(2000, 500, 0))


@pytest.mark.parametrize(("cell", "epochs"), [("gru", 4), ("lstm", 8)])
def test_gated_cells_add_two_numbers_fifty_steps_apart(cell: Cell, epochs: int) -> None:
    error = np.nanmin(added(cell, epochs, 0.03).valid_loss, axis=1)
    assert error.max() < 0.01, "every seed, on rows it was not trained on; the mean has 0.167"


def test_a_vanilla_rnn_does_not_add_across_a_long_lag() -> None:
    """Vanishing gradients (Bengio, Simard and Frasconi 1994): no better than the targets' mean."""
    built = adding(2500)
    always_the_mean = built.y[2000:].var()
    assert always_the_mean == pytest.approx(2 / 12, rel=0.1)
    error = np.nanmin(added("rnn_tanh", 8, 0.005).valid_loss, axis=1)
    assert error.min() > 0.9 * always_the_mean


def echo(rows: int, steps: int = 40) -> Sequences:
    """Make random bits to repeat `DELAY` steps later; the first `DELAY` are NaN, unscored."""
    bits = np.random.default_rng(0).integers(0, 2, (rows, steps)).astype(float)
    y = np.full((rows, steps), np.nan)
    y[:, DELAY:] = bits[:, :-DELAY]
    return Sequences(bits[..., None], y[..., None], np.isfinite(y))


def accuracy(logits: Array, built: Sequences, rows: Array) -> Array:
    right = (logits[..., 0] > 0) == (built.y[rows, :, 0] > 0.5)
    return np.array([own[mask].mean() for own, mask in zip(right, built.mask[rows], strict=True)])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_gated_cells_echo_bits_ten_steps_later(cell: Cell) -> None:
    built = echo(700)
    training = Training(
        epochs=20,
        patience=20,
        batch_size=20,
        learning_rate=0.03,
        schedule="cosine",
        dtype="float32",
        seeds=2,
    )
    model = Model(cell=cell, hidden_size=48, init="orthogonal", readout="steps")
    fitted = fit(model, training, built, holdout(500, 200, 0))
    assert np.nanmin(fitted.valid_loss, axis=1).max() < 0.05, "nats a bit; chance is 0.693"
    rows = np.tile(np.arange(500, 700), (2, 1))
    assert accuracy(predict(fitted, built.x, rows), built, rows).min() > 0.98

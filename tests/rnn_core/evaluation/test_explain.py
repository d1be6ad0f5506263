"""What networks look at, against finite differences and autograd."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from rnn_core import to_torch_state_dict
from rnn_core.config import Evaluation, Model, Problem, Synthetic, Training
from rnn_core.data.folds import folds
from rnn_core.data.loading import load
from rnn_core.data.windows import Windows, windows
from rnn_core.evaluation.explain import explain
from rnn_core.nn.ensemble import predict
from rnn_core.nn.network import split
from rnn_core.nn.settings import Cell
from rnn_core.nn.training import Fit, fit

ROWS = np.array([[3, 50, 70, -1], [10, 20, 30, 40]])


@pytest.fixture(scope="module")
def built() -> Windows:
    prices = load(Synthetic(days=120), "TEST", datetime(2024, 6, 1, tzinfo=UTC))
    return windows(Problem(seq_len=6, features=("return", "abs_return")), prices)


def fitted(built: Windows, **options: object) -> Fit:
    walk = folds(Evaluation(train_days=50, valid_days=20, test_days=100), built)
    model = Model(**{"hidden_size": 4} | options)
    return fit(model, Training(epochs=2, seeds=1), built, walk)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_the_reach_is_the_gradient_of_the_loss_by_every_hidden_state(
    built: Windows, cell: Cell
) -> None:
    """Against autograd, through torch's own cells step by step."""
    trained = fitted(built, cell=cell)
    found = explain(trained, built, ROWS)
    kind = {"rnn_tanh": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell]
    parts = split(trained.params)
    for m in range(2):
        net = kind(2, 4, batch_first=True).double()
        net.load_state_dict(to_torch_state_dict(parts[""], m))
        weight, bias = (torch.tensor(parts["head"][name][m]) for name in ("weight", "bias"))
        norms = []
        for row in ROWS[m][ROWS[m] >= 0]:
            x = torch.tensor((built.x[row] - trained.center[m]) / trained.scale[m])[None]
            state, hidden = None, []
            for t in range(6):
                _, state = net(x[:, t : t + 1], state)
                last = state[0] if cell == "lstm" else state
                last.retain_grad()
                hidden.append(last)
            logit = (hidden[-1][0, 0] @ weight.T + bias)[0]
            label = torch.tensor(built.y[row, 0, 0])
            torch.nn.functional.binary_cross_entropy_with_logits(logit, label).backward()
            norms.append([h.grad.norm().item() for h in hidden])
        np.testing.assert_allclose(found.reach[m], np.mean(norms, axis=0), rtol=1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"cell": "lstm", "num_layers": 2}, {"bidirectional": True, "head": "tanh"}]
)
def test_the_sensitivity_is_the_change_of_the_probability_by_a_standard_deviation(
    built: Windows, options: dict[str, object]
) -> None:
    trained = fitted(built, **options)
    found = explain(trained, built, ROWS)
    step, row, t, feature = 1e-5, 30, 2, 1
    moved = built.x[[row, row]].copy()
    moved[:, t, feature] += np.array([-step, step]) * trained.scale[1, feature]
    logits = predict(trained, moved, np.tile([0, 1], (2, 1)))[1, :, 0, 0]
    low, high = 1 / (1 + np.exp(-logits))
    alone = explain(trained, built, np.array([[row], [row]]))
    assert alone.sensitivity[1, t, feature] == pytest.approx(abs(high - low) / (2 * step), rel=1e-5)
    assert found.sensitivity.shape == (2, 6, 2)
    assert (found.reach is None) == trained.model.bidirectional


def test_padding_counts_nothing_and_a_frozen_model_has_no_explanation(built: Windows) -> None:
    trained = fitted(built)
    padded, plain = explain(trained, built, ROWS), explain(trained, built, ROWS[:, :3])
    np.testing.assert_allclose(padded.sensitivity[0], plain.sensitivity[0], rtol=1e-12)
    np.testing.assert_allclose(padded.reach[0], plain.reach[0], rtol=1e-12)
    nothing = explain(replace(trained, frozen=np.array([7, -1])), built, ROWS)
    assert np.isnan(nothing.reach[0]).all()
    assert np.isfinite(nothing.reach[1]).all()

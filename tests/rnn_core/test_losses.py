"""Losses from logits, against torch."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from rnn_core.losses import binary_cross_entropy, sigmoid

SHAPE = (3, 5, 4, 2)  # M, N, T, O


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_loss_and_gradient_equal_torch_over_the_scored_steps(rng: np.random.Generator) -> None:
    logits, y = rng.normal(size=SHAPE) * 3, rng.integers(0, 2, SHAPE).astype(float)
    mask = rng.random(SHAPE[:3]) < 0.6
    loss, dlogits = binary_cross_entropy(logits, y, mask)
    for m in range(SHAPE[0]):
        z = torch.tensor(logits[m], requires_grad=True)
        expected = functional.binary_cross_entropy_with_logits(z[torch.tensor(mask[m])], torch.tensor(y[m][mask[m]]))
        expected.backward()
        assert loss[m] == pytest.approx(expected.item(), rel=1e-14)
        np.testing.assert_allclose(dlogits[m], z.grad.numpy(), rtol=1e-13, atol=1e-17)


def test_what_is_not_scored_counts_nothing_whatever_it_holds(rng: np.random.Generator) -> None:
    logits, y = rng.normal(size=SHAPE), rng.integers(0, 2, SHAPE).astype(float)
    mask = rng.random(SHAPE[:3]) < 0.6
    expected = binary_cross_entropy(logits, y, mask)
    y[~mask] = np.nan
    logits[~mask] = np.nan
    loss, dlogits = binary_cross_entropy(logits, y, mask)
    assert loss.tobytes() == expected[0].tobytes()
    assert dlogits.tobytes() == expected[1].tobytes()
    assert not dlogits[~mask].any()


def test_a_model_without_a_scored_step_has_loss_zero_and_no_gradient() -> None:
    loss, dlogits = binary_cross_entropy(np.ones(SHAPE), np.ones(SHAPE), np.zeros(SHAPE[:3], dtype=bool))
    assert not loss.any()
    assert not dlogits.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_overflows_at_a_thousand(dtype: str) -> None:
    logits = np.array([-1000, 1000, -1000, 1000], dtype).reshape(1, 4, 1, 1)
    y = np.array([0, 1, 1, 0], dtype).reshape(1, 4, 1, 1)
    with np.errstate(all="raise", under="ignore"):
        loss, dlogits = binary_cross_entropy(logits, y, np.ones((1, 4, 1), dtype=bool))
        assert sigmoid(logits).ravel().tolist() == [0, 1, 0, 1]
    assert loss.tolist() == [500]
    assert dlogits.ravel().tolist() == [0, 0, -0.25, 0.25]
    assert loss.dtype == dlogits.dtype == dtype

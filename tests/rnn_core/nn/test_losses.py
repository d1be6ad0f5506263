"""Losses from logits, against torch, finite differences and complex steps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import complex_step_error, directional_error
from scipy.special import expit
from torch.nn import functional

from rnn_core.errors import ArrayError
from rnn_core.nn.arrays import Array
from rnn_core.nn.losses import (
    LOSSES,
    LossName,
    binary_cross_entropy,
    brier,
    cross_entropy,
    mean_squared_error,
    sigmoid,
    textbook_cross_entropy,
)

SHAPE = (3, 5, 4, 2)  # M, N, T, O
CLASSES = 3
NAMES = tuple(LOSSES)
WEIGHTED: list[tuple[LossName, list[float] | None]] = [
    ("binary_cross_entropy", None),
    ("binary_cross_entropy", [0.3, 2.0]),
    ("brier", None),
    ("brier", [0.3, 2.0]),
    ("cross_entropy", None),
    ("cross_entropy", [0.5, 1.0, 3.0]),
    ("mean_squared_error", None),
]

weighted = pytest.mark.parametrize(("name", "weights"), WEIGHTED)


def case(name: LossName, seed: int = 0) -> tuple[Array, Array, Array]:
    """Logits, soft targets that suit the loss, and a mask."""
    rng = np.random.default_rng(seed)
    shape = (*SHAPE[:3], CLASSES)
    y = rng.random(shape) if name != "cross_entropy" else rng.dirichlet(np.ones(CLASSES), SHAPE[:3])
    return rng.normal(size=shape) * 3, y, rng.random(SHAPE[:3]) < 0.6


def of(
    name: LossName, weights: list[float] | None
) -> Callable[[Array, Array, Array], tuple[Array, Array]]:
    return lambda logits, y, mask: LOSSES[name](
        logits, y, mask, None if weights is None else np.array(weights)
    )


def assert_equal_to_torch(
    found: tuple[Array, Array],
    logits: Array,
    expected_of: Callable[[int, torch.Tensor], torch.Tensor],
) -> None:
    """Loss and gradient of model m equal those of `expected_of(m, logits)`, a tensor (N, T, O)."""
    for m, values in enumerate(logits):
        z = torch.tensor(values, requires_grad=True)
        expected = expected_of(m, z)
        expected.backward()
        assert found[0][m] == pytest.approx(expected.item(), rel=1e-14)
        np.testing.assert_allclose(found[1][m], z.grad.numpy(), rtol=1e-13, atol=1e-16)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_binary_cross_entropy_and_its_gradient_equal_torch_over_the_scored_steps(
    rng: np.random.Generator,
) -> None:
    logits, y = rng.normal(size=SHAPE) * 3, rng.integers(0, 2, SHAPE).astype(float)
    mask = rng.random(SHAPE[:3]) < 0.6
    assert_equal_to_torch(
        binary_cross_entropy(logits, y, mask),
        logits,
        lambda m, z: functional.binary_cross_entropy_with_logits(
            z[mask[m]], torch.tensor(y[m][mask[m]])
        ),
    )


def test_brier_is_torchs_squared_error_of_a_sigmoid(rng: np.random.Generator) -> None:
    logits, y = rng.normal(size=SHAPE) * 3, rng.integers(0, 2, SHAPE).astype(float)
    mask = rng.random(SHAPE[:3]) < 0.6
    assert_equal_to_torch(
        brier(logits, y, mask),
        logits,
        lambda m, z: functional.mse_loss(z[mask[m]].sigmoid(), torch.tensor(y[m][mask[m]])),
    )


def test_the_textbooks_cross_entropy_has_epsilon_in_its_logs_and_not_in_its_gradient(
    rng: np.random.Generator,
) -> None:
    logits, y = rng.normal(size=SHAPE) * 12, rng.integers(0, 2, SHAPE).astype(float)
    mask = rng.random(SHAPE[:3]) < 0.6
    loss, dlogits = textbook_cross_entropy(logits, y, mask)
    p = 1 / (1 + np.exp(-logits))
    each = -(y * np.log(p + 1e-8) + (1 - y) * np.log(1 - p + 1e-8))
    np.testing.assert_allclose(loss, [each[m][mask[m]].mean() for m in range(SHAPE[0])], rtol=1e-13)
    np.testing.assert_allclose(
        dlogits, binary_cross_entropy(logits, y, mask)[1], rtol=1e-12, atol=1e-17
    )
    assert (loss < binary_cross_entropy(logits, y, mask)[0]).all()


def test_weighted_binary_cross_entropy_is_torchs_cross_entropy_of_two_logits(
    rng: np.random.Generator,
) -> None:
    logits, y = rng.normal(size=SHAPE) * 3, rng.integers(0, 2, SHAPE)
    mask, weights = rng.random(SHAPE[:3]) < 0.6, np.array([0.3, 2.0])

    def expected(m: int, z: torch.Tensor) -> torch.Tensor:
        scored = z[mask[m]].flatten()
        pair = torch.stack([torch.zeros_like(scored), scored], dim=1)
        return functional.cross_entropy(
            pair, torch.tensor(y[m][mask[m]].ravel()), torch.tensor(weights)
        )

    assert_equal_to_torch(
        binary_cross_entropy(logits, y.astype(float), mask, weights), logits, expected
    )


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 3.0]])
def test_cross_entropy_of_one_hot_targets_equals_torchs_of_class_indices(
    weights: list[float] | None, rng: np.random.Generator
) -> None:
    logits, _, mask = case("cross_entropy")
    index = rng.integers(0, CLASSES, SHAPE[:3])
    chosen = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    assert_equal_to_torch(
        of("cross_entropy", weights)(logits, np.eye(CLASSES)[index], mask),
        logits,
        lambda m, z: functional.cross_entropy(z[mask[m]], torch.tensor(index[m][mask[m]]), chosen),
    )


def test_cross_entropy_of_soft_targets_equals_torch() -> None:
    logits, y, mask = case("cross_entropy")
    assert_equal_to_torch(
        cross_entropy(logits, y, mask),
        logits,
        lambda m, z: functional.cross_entropy(z[mask[m]], torch.tensor(y[m][mask[m]])),
    )


def test_class_weights_of_soft_targets_weigh_the_sum_and_what_it_is_divided_by() -> None:
    """For soft targets torch divides by the number of examples; here the mean is weighted."""
    logits, y, mask = case("cross_entropy")
    weights = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)

    def expected(m: int, z: torch.Tensor) -> torch.Tensor:
        aim = torch.tensor(y[m][mask[m]])
        total = functional.cross_entropy(z[mask[m]], aim, weights, reduction="sum")
        return total / (aim * weights).sum()

    assert_equal_to_torch(cross_entropy(logits, y, mask, weights.numpy()), logits, expected)


def test_mean_squared_error_equals_torch() -> None:
    logits, y, mask = case("mean_squared_error")
    assert_equal_to_torch(
        mean_squared_error(logits, y, mask),
        logits,
        lambda m, z: functional.mse_loss(z[mask[m]], torch.tensor(y[m][mask[m]])),
    )


@weighted
def test_gradients_equal_central_differences(
    name: LossName, weights: list[float] | None, rng: np.random.Generator
) -> None:
    logits, y, mask = case(name)
    loss = of(name, weights)
    dlogits = loss(logits, y, mask)[1]
    for m in range(SHAPE[0]):  # each model's loss by itself: it depends on its own logits alone
        own = {"logits": np.where(np.arange(SHAPE[0])[:, None, None, None] == m, dlogits, 0)}
        score = lambda at: float(loss(at["logits"], y, mask)[0][m])  # noqa: B023, E731
        assert directional_error(score, {"logits": logits}, own, rng) < 1e-8


@weighted
def test_gradients_equal_complex_steps(
    name: LossName, weights: list[float] | None, rng: np.random.Generator
) -> None:
    logits, y, mask = case(name)
    loss = of(name, weights)
    dlogits = loss(logits, y, mask)[1]
    if name in (
        "binary_cross_entropy",
        "brier",
    ):  # written with |z|, which is not analytic; the textbook's form is
        down, up = [1.0, 1.0] if weights is None else weights

        def score(at: dict[str, Array]) -> Any:
            p, rest = 1 / (1 + np.exp(-at["logits"])), 1 / (1 + np.exp(at["logits"]))
            each = (down * (1 - y) + up * y) * (p - y) ** 2
            if name == "binary_cross_entropy":
                each = -up * y * np.log(p) - down * (1 - y) * np.log(rest)
            count = np.where(mask[..., None], down * (1 - y) + up * y, 0).sum(axis=(1, 2, 3))
            return (np.where(mask[..., None], each, 0).sum(axis=(1, 2, 3)) / count).sum()
    else:

        def score(at: dict[str, Array]) -> Any:
            return loss(at["logits"], y, mask)[0].sum()

    assert complex_step_error(score, {"logits": logits}, {"logits": dlogits}, rng) < 1e-14


@weighted
@pytest.mark.parametrize("filler", [np.nan, np.inf, 1e300])
def test_what_is_not_scored_counts_nothing_whatever_it_holds(
    name: LossName, weights: list[float] | None, filler: float
) -> None:
    logits, y, mask = case(name)
    expected = of(name, weights)(logits, y, mask)
    y[~mask] = filler
    logits[~mask] = filler
    with np.errstate(all="raise", under="ignore"):
        loss, dlogits = of(name, weights)(logits, y, mask)
    assert loss.tobytes() == expected[0].tobytes()
    assert dlogits.tobytes() == expected[1].tobytes()
    assert not dlogits[~mask].any()
    assert np.isfinite(loss).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_a_scored_step_has_loss_zero_and_no_gradient(name: LossName) -> None:
    loss, dlogits = LOSSES[name](
        np.ones(SHAPE), np.ones(SHAPE), np.zeros(SHAPE[:3], dtype=bool), None
    )
    assert not loss.any()
    assert not dlogits.any()


@weighted
def test_a_model_of_a_stack_has_the_bits_it_has_alone(
    name: LossName, weights: list[float] | None
) -> None:
    logits, y, mask = case(name)
    loss, dlogits = of(name, weights)(logits, y, mask)
    for m in range(SHAPE[0]):
        one = slice(m, m + 1)
        alone, d_alone = of(name, weights)(logits[one], y[one], mask[one])
        assert alone.tobytes() == loss[one].tobytes()
        assert d_alone.tobytes() == dlogits[one].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_overflows_at_a_thousand(dtype: str) -> None:
    z = np.array([-1000, 1000, -1000, 1000], dtype).reshape(1, 4, 1, 1)
    y = np.array([0, 1, 1, 0], dtype).reshape(1, 4, 1, 1)
    mask = np.ones((1, 4, 1), dtype=bool)
    pair, one_hot = np.concatenate([-z, z], axis=-1) / 2, np.concatenate([1 - y, y], axis=-1)
    weights = np.array([1.0, 3.0])  # of the classes of y: 8 in all
    with np.errstate(all="raise", under="ignore"):
        found = {
            "binary": binary_cross_entropy(z, y, mask),
            "binary weighted": binary_cross_entropy(z, y, mask, weights),
            "softmax": cross_entropy(pair, one_hot, mask),
            "softmax weighted": cross_entropy(pair, one_hot, mask, weights),
            "squared": mean_squared_error(z, y, mask),
        }
        assert sigmoid(z).ravel().tolist() == [0, 1, 0, 1]
    assert all(loss.dtype == dlogits.dtype == dtype for loss, dlogits in found.values())
    assert found["binary"][0].tolist() == found["softmax"][0].tolist() == [500]
    assert (
        found["binary"][1].ravel().tolist()
        == found["softmax"][1][..., 1].ravel().tolist()
        == [0, 0, -0.25, 0.25]
    )
    assert found["binary weighted"][0].tolist() == found["softmax weighted"][0].tolist() == [500]
    for name in ("binary weighted", "softmax weighted"):
        assert found[name][1][..., -1].ravel().tolist() == [0, 0, -3 / 8, 1 / 8]
    assert found["squared"][0].tolist() == [
        np.dtype(dtype).type(1000**2 + 999**2 + 1001**2 + 1000**2) / 4
    ]
    assert found["squared"][1].ravel().tolist() == [-500, 499.5, -500.5, 500]


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_do_not_fit_are_refused_not_broadcast(name: LossName) -> None:
    logits, y, mask = np.ones(SHAPE), np.ones(SHAPE), np.ones(SHAPE[:3], dtype=bool)
    for bad_y, bad_mask, message in [
        (
            y[:, :, :1],
            mask,
            r"targets \(3, 5, 1, 2\) and mask \(3, 5, 4\) do not fit logits \(3, 5, 4, 2\)",
        ),
        (y[..., :1], mask, r"targets \(3, 5, 4, 1\)"),
        (y[0], mask, r"targets \(5, 4, 2\)"),
        (y, mask[..., None], r"mask \(3, 5, 4, 1\) do not fit"),
        (y, mask[:, :, :1], r"mask \(3, 5, 1\) do not fit"),
    ]:
        with pytest.raises(ArrayError, match=message):
            LOSSES[name](logits, bad_y, bad_mask, None)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        (
            "binary_cross_entropy",
            [1.0],
            r"class_weights have shape \(1,\); binary_cross_entropy has 2 classes",
        ),
        (
            "binary_cross_entropy",
            [1.0, 1.0, 1.0],
            r"class_weights have shape \(3,\); binary_cross_entropy has 2 classes",
        ),
        ("cross_entropy", [1.0], r"class_weights have shape \(1,\); cross_entropy has 3 classes"),
        (
            "cross_entropy",
            [[1.0, 1.0, 1.0]],
            r"class_weights have shape \(1, 3\); cross_entropy has 3 classes",
        ),
        (
            "mean_squared_error",
            [1.0, 1.0, 1.0],
            r"class_weights have shape \(3,\); mean_squared_error has 0 classes",
        ),
    ],
)
def test_class_weights_are_as_many_as_the_classes(
    name: LossName, weights: list[Any], message: str
) -> None:
    logits, y, mask = case(name)
    with pytest.raises(ArrayError, match=message):
        LOSSES[name](logits, y, mask, np.array(weights))


def test_the_sigmoid_is_scipys_to_three_roundings() -> None:
    z = np.concatenate(
        [np.linspace(-700, 700, 2801), np.random.default_rng(0).normal(scale=3, size=10_000)]
    )
    np.testing.assert_allclose(sigmoid(z), expit(z), rtol=3 * np.finfo(float).eps)
    single = z[np.abs(z) < 80].astype("float32")
    assert sigmoid(single).dtype == np.float32
    np.testing.assert_allclose(sigmoid(single), expit(single), rtol=3 * np.finfo("float32").eps)

"""Update rules and clipping, followed for a hundred steps beside torch's own."""

import numpy as np
import pytest
import torch

from rnn_core.nn.optim import Rule, start, update

MODELS, SIZE, STEPS = 3, 40, 100
RULES = {
    "sgd": Rule("sgd"),
    "momentum": Rule("sgd", momentum=0.9),
    "sgd with decay": Rule("sgd", momentum=0.5, weight_decay=0.1),
    "adam": Rule("adam"),
    "adam with decay": Rule("adam", weight_decay=0.1),
    "adamw": Rule("adamw", weight_decay=0.1),
    "clipped by value": Rule("sgd", clip_value=0.05),
    "clipped by norm": Rule("adam", clip_norm=0.5),
    "clipped by both": Rule("sgd", momentum=0.9, clip_value=0.3, clip_norm=0.5),
}


def torch_optimiser(rule: Rule, parameter: torch.Tensor, rate: float) -> torch.optim.Optimizer:
    if rule.name == "sgd":
        return torch.optim.SGD(
            [parameter], rate, momentum=rule.momentum, weight_decay=rule.weight_decay
        )
    kind = torch.optim.Adam if rule.name == "adam" else torch.optim.AdamW
    return kind([parameter], rate, weight_decay=rule.weight_decay)


def gradient(params: np.ndarray, step: int) -> np.ndarray:
    """Of a bumpy function with minima far from zero; now and then a large one."""
    return np.sin(3 * params + step) + 0.1 * params + (5 if step % 17 == 0 else 0)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_hundred_steps_follow_torch(rule: Rule) -> None:
    params = np.random.default_rng(0).normal(size=(MODELS, SIZE))
    rate = np.array([1e-3, 1e-2, 3e-2])
    mirrors = [torch.tensor(row.copy(), requires_grad=True) for row in params]
    optimisers = [
        torch_optimiser(rule, mirror, eta) for mirror, eta in zip(mirrors, rate, strict=True)
    ]
    state = start(rule, params)
    for step in range(STEPS):
        for mirror, optimiser in zip(mirrors, optimisers, strict=True):
            mirror.grad = torch.tensor(gradient(mirror.detach().numpy(), step))
            if rule.clip_value is not None:
                torch.nn.utils.clip_grad_value_([mirror], rule.clip_value)
            if rule.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_([mirror], rule.clip_norm)
            optimiser.step()
        update(rule, params, gradient(params, step), state, np.full(MODELS, True), rate)
    expected = np.stack([mirror.detach().numpy() for mirror in mirrors])
    assert np.abs(params - expected).max() <= 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_tensors_take_the_same_steps_as_arrays(rule: Rule) -> None:
    params = np.random.default_rng(0).normal(size=(MODELS, SIZE))
    tensor, rate = torch.tensor(params), np.array([1e-3, 1e-2, 3e-2])
    states = start(rule, params), start(rule, tensor)
    for step in range(20):
        moves = np.arange(MODELS) != step % MODELS
        update(rule, params, gradient(params, step), states[0], moves, rate)
        update(rule, tensor, torch.tensor(gradient(tensor.numpy(), step)), states[1], moves, rate)
    np.testing.assert_allclose(tensor.numpy(), params, rtol=1e-12)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_model_that_does_not_move_keeps_everything_and_the_others_do_not_notice(
    rule: Rule,
) -> None:
    rate = np.full(MODELS, 1e-2)
    params = np.random.default_rng(0).normal(size=(MODELS, SIZE))
    alone = params[[0]].copy()
    state, state_alone = start(rule, params), start(rule, alone)
    for step in range(10):
        grads = gradient(params, step)
        grads[1] = np.nan
        before = params[1].copy()
        update(rule, params, grads, state, np.array([True, False, True]), rate)
        update(rule, alone, gradient(alone, step), state_alone, np.array([True]), rate[:1])
        assert params[1].tobytes() == before.tobytes()
    assert not any(value[1].any() for value in state.values())
    assert all(value[0].any() for value in state.values())
    if rule.name != "sgd":
        assert state["step"].tolist() == [10, 0, 10]
    assert params[0].tobytes() == alone[0].tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
def test_a_step_that_is_not_finite_is_not_taken(bad: float) -> None:
    params, rate = np.ones((2, 3)), np.array([0.1, 10.0])
    state = start(RULES["sgd"], params)
    with np.errstate(over="ignore", invalid="ignore"):
        lost = update(
            RULES["sgd"],
            params,
            np.array([[1.0, 1, 1], [1, bad, 1]]),
            state,
            np.array([True, True]),
            rate,
        )
    assert lost == [1]
    assert params[1].tolist() == [1, 1, 1]
    np.testing.assert_allclose(params[0], 0.9)


def test_the_norm_that_is_clipped_is_that_of_a_models_whole_gradient() -> None:
    params, rate = np.zeros((2, 3)), np.ones(2)
    rule = Rule("sgd", clip_norm=1.0)
    update(
        rule,
        params,
        np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.5]]),
        start(rule, params),
        np.array([True, True]),
        rate,
    )
    np.testing.assert_allclose(params, [[-0.6, -0.8, 0], [0, 0, -0.5]], rtol=1e-6)


def test_single_precision_stays_single() -> None:
    params = np.ones((2, 3), "float32")
    state = start(RULES["adam"], params)
    update(
        RULES["adam"], params, np.ones_like(params), state, np.array([True, True]), np.full(2, 0.1)
    )
    assert params.dtype == state["first"].dtype == np.float32
    np.testing.assert_allclose(params, 0.9, rtol=1e-6)

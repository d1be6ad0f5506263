"""Learning rates by epoch, against torch's schedulers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from rnn_core.nn.arrays import Array
from rnn_core.nn.schedule import Schedule
from rnn_core.nn.settings import Training


def torch_rates(
    rate: float,
    make: Callable[[torch.optim.Optimizer], Any],
    losses: Array,
    step: Callable[[Any, float], None],
) -> list[float]:
    """The learning rate in each epoch under one of torch's schedulers, told of the losses."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], rate)
    scheduler, rates = make(optimiser), []
    for loss in losses:
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        step(scheduler, loss)
    return rates


@pytest.mark.parametrize("epochs", [1, 7, 40])
def test_the_cosine_schedule_is_torchs_by_epoch(epochs: int) -> None:
    schedule = Schedule(Training(schedule="cosine", epochs=epochs, learning_rate=0.02), 2)
    expected = torch_rates(
        0.02,
        lambda optimiser: CosineAnnealingLR(optimiser, T_max=epochs),
        np.zeros(epochs),
        lambda scheduler, _: scheduler.step(),
    )
    for epoch, rate in enumerate(expected):
        np.testing.assert_allclose(schedule.rate(epoch), rate, rtol=1e-12)
        schedule.observe(np.zeros(2))
    assert len(set(expected)) == epochs


@pytest.mark.parametrize(("factor", "patience"), [(0.1, 10), (0.5, 0), (0.7, 3)])
def test_the_plateau_schedule_is_torchs_for_each_model(factor: float, patience: int) -> None:
    epochs, start = 150, 0.02
    rng = np.random.default_rng(0)
    losses = np.stack(
        [
            rng.random(epochs),  # by chance
            1 + np.exp(-np.arange(epochs) / 30) + 0.01 * rng.random(epochs),  # slower and slower
            0.99999 ** np.arange(epochs),  # by less than the threshold
            0.9998 ** np.arange(epochs),  # by more
            np.where(np.arange(epochs) < 60, 1 / (1 + np.arange(epochs)), np.nan),  # stopped
        ]
    )
    options = {"plateau_factor": factor, "plateau_patience": patience}
    schedule = Schedule(Training(schedule="plateau", learning_rate=start, **options), len(losses))
    found = []
    for epoch in range(epochs):
        found.append(schedule.rate(epoch))
        schedule.observe(losses[:, epoch])
    for m, own in enumerate(losses):
        expected = torch_rates(
            start,
            lambda optimiser: ReduceLROnPlateau(optimiser, factor=factor, patience=patience),
            own,
            lambda scheduler, loss: scheduler.step(loss),
        )
        np.testing.assert_allclose(np.array(found)[:, m], expected, rtol=1e-12)
    assert np.array(found)[-1].min() < start / 2
    assert np.array(found)[-1, 3] == start


def test_the_defaults_of_the_plateau_schedule_are_torchs() -> None:
    torchs, ours = ReduceLROnPlateau(torch.optim.SGD([torch.zeros(1)])), Training()
    assert (ours.plateau_factor, ours.plateau_patience) == (torchs.factor, torchs.patience)
    assert (torchs.threshold, torchs.eps) == (Schedule.THRESHOLD, Schedule.EPS)


def test_a_constant_schedule_is_constant() -> None:
    schedule = Schedule(Training(learning_rate=0.02), 2)
    schedule.observe(np.ones(2))
    assert [schedule.rate(epoch).tolist() for epoch in (0, 50)] == [[0.02, 0.02]] * 2

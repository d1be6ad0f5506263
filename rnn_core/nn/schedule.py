"""The learning rate of each model by epoch."""

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.nn.settings import Training


class Schedule:
    """The learning rate of each model by epoch, as `training.schedule` names it.

    - constant: `training.learning_rate`.
    - cosine: torch's CosineAnnealingLR down to 0 over all epochs (Loshchilov and Hutter 2017).
    - plateau: torch's ReduceLROnPlateau. A loss counts as lower if it is lower by a factor of
      1 − THRESHOLD, and a cut of the rate smaller than EPS is not made.

    Attributes:
        memory: what a checkpoint holds, each (M,): the present `rate`, the `lowest` loss so far and
            how many epochs the model has `waited` for a lower one.
    """

    THRESHOLD = 1e-4
    EPS = 1e-8

    def __init__(self, training: Training, models: int) -> None:
        self._training = training
        self.memory = {
            "rate": np.full(models, training.learning_rate),
            "lowest": np.full(models, np.inf),
            "waited": np.zeros(models, dtype=int),
        }

    @property
    def needs_losses(self) -> bool:
        """Tell if the rate depends on the validation losses."""
        return self._training.schedule == "plateau"

    def rates(self, epochs: range) -> Array:
        """Return the learning rates (M, E) in `epochs`, counted from 0."""
        return np.stack([self.rate(epoch) for epoch in epochs], axis=1)

    def rate(self, epoch: int) -> Array:
        """Return the learning rate (M,) in `epoch`, counted from 0."""
        rate = self.memory["rate"]
        if self._training.schedule == "cosine":
            return np.asarray(rate * (1 + np.cos(np.pi * epoch / self._training.epochs)) / 2)
        return rate.copy()

    def observe(self, valid_loss: Array) -> None:
        """Adapt to an epoch's validation losses (M,), NaN for models that have stopped."""
        if not self.needs_losses:
            return
        self._count_epochs_without_lower(valid_loss)
        self._cut_stalled()

    def _count_epochs_without_lower(self, valid_loss: Array) -> None:
        lowest = self.memory["lowest"]
        waited = self.memory["waited"]
        lower = valid_loss < lowest * (1 - self.THRESHOLD)
        lowest[lower] = valid_loss[lower]
        waited += 1
        waited[lower] = 0

    def _cut_stalled(self) -> None:
        rate = self.memory["rate"]
        waited = self.memory["waited"]
        stalled = waited > self._training.plateau_patience
        waited[stalled] = 0
        cut = rate * self._training.plateau_factor
        rate[...] = np.where(stalled & (rate - cut > self.EPS), cut, rate)

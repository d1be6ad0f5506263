"""The learning rate of each model by epoch."""

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.nn.settings import Training


class Schedule:
    """The learning rate of each model by epoch.

    cosine is torch's CosineAnnealingLR down to 0 over all epochs (Loshchilov and Hutter 2017); plateau is torch's
    ReduceLROnPlateau: a lower loss is one lower by a factor of 1 − THRESHOLD, and a cut smaller than EPS is not made.
    """

    THRESHOLD = 1e-4
    EPS = 1e-8

    def __init__(self, training: Training, models: int) -> None:
        self._training = training
        rate = np.full(models, training.learning_rate)
        self.memory = {"rate": rate, "lowest": np.full(models, np.inf), "waited": np.zeros(models, dtype=int)}

    @property
    def listens(self) -> bool:
        """Whether the rate depends on the losses that it hears."""
        return self._training.schedule == "plateau"

    def rate(self, epoch: int) -> Array:
        """(M,) the learning rate in `epoch`, counted from 0."""
        if self._training.schedule == "cosine":
            return np.asarray(self.memory["rate"] * (1 + np.cos(np.pi * epoch / self._training.epochs)) / 2)
        return self.memory["rate"].copy()

    def hear(self, valid_loss: Array) -> None:
        """Take note of an epoch's validation losses (M,), NaN for models that have stopped."""
        if not self.listens:
            return
        rate, lowest, waited = self.memory.values()
        lower = valid_loss < lowest * (1 - self.THRESHOLD)
        lowest[lower] = valid_loss[lower]
        waited += 1
        waited[lower] = 0
        stalled = waited > self._training.plateau_patience
        waited[stalled] = 0
        lower_rate = rate * self._training.plateau_factor
        rate[...] = np.where(stalled & (rate - lower_rate > self.EPS), lower_rate, rate)

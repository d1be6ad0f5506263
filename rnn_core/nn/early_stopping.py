"""Early stopping: the best epoch of each model, and when to wait no longer for a better one."""

import numpy as np

from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines import Engine


class EarlyStopping:
    """The best epoch of each model by validation loss.

    With `patience` None no model stops and the last parameters count, not the best.

    Attributes:
        best_params: {name: (M, …)} parameters after each model's best epoch.
        best_loss: (M,) its validation loss.
        best_epoch: (M,) its number, from 0.
    """

    def __init__(self, patience: int | None, engine: Engine) -> None:
        models = len(engine.frozen)
        self._patience = patience
        self.best_params = engine.params
        self.best_loss = np.full(models, np.inf)
        self.best_epoch = np.zeros(models, dtype=int)

    def stopped(self, epoch: int) -> Array:
        """Return (M,) True for the models that had no better loss for too long before `epoch`."""
        if self._patience is None:
            return np.zeros(len(self.best_epoch), dtype=bool)
        return epoch - self.best_epoch > self._patience

    def observe(self, epoch: int, valid_loss: Array, engine: Engine) -> None:
        """Keep the parameters of the models whose validation loss (M,) is their lowest so far."""
        if self._patience is None:
            return
        better = valid_loss < self.best_loss
        if not better.any():
            return
        self.best_loss[better] = valid_loss[better]
        self.best_epoch[better] = epoch
        for name, value in engine.params.items():
            self.best_params[name][better] = value[better]

    def chosen_params(self, engine: Engine) -> Params:
        """Return the parameters that the training ends with, {name: (M, …)}."""
        return engine.params if self._patience is None else self.best_params

"""Random streams: one for each model and purpose, the same whatever else is in the stack."""

from typing import Any
from zlib import crc32

import numpy as np

from rnn_core.nn.settings import Training


class Streams:
    """One Generator a model for each purpose, named by the purpose, the model's fold and its seed.

    Args:
        training: its `seed` is the root of all, its `seeds` the models of a fold.
        folds: how many folds are trained.
        drawn: by purpose, True if anything is drawn for it.
    """

    def __init__(self, training: Training, folds: int, drawn: dict[str, bool]) -> None:
        self._rngs: dict[str, list[np.random.Generator]] = {}
        for purpose, is_drawn in drawn.items():
            self._rngs[purpose] = _streams(purpose, training, folds) if is_drawn else []

    def __getitem__(self, purpose: str) -> list[np.random.Generator]:
        """Return the Generators of a purpose, fold by fold; none if nothing is drawn for it."""
        return self._rngs[purpose]

    @property
    def states(self) -> dict[str, list[Any]]:
        """The states of all streams by purpose, as JSON values."""
        return {purpose: [_state(rng) for rng in rngs] for purpose, rngs in self._rngs.items()}

    @states.setter
    def states(self, states: dict[str, list[Any]]) -> None:
        for purpose, rngs in self._rngs.items():
            for rng, state in zip(rngs, states[purpose], strict=True):
                rng.bit_generator.state = state


def _streams(purpose: str, training: Training, folds: int) -> list[np.random.Generator]:
    key = crc32(purpose.encode())
    return [
        np.random.default_rng(np.random.SeedSequence(training.seed, spawn_key=(key, fold, seed)))
        for fold in range(folds)
        for seed in range(training.seeds)
    ]


def _state(rng: np.random.Generator) -> Any:
    return rng.bit_generator.state

"""Batches in pieces: some rows at a time, whose activations stay in cache, on threads."""

from collections.abc import Callable, Iterable
from functools import reduce
from itertools import repeat, starmap
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.nn.engines.unrolled import Net
from rnn_core.nn.losses import Loss

Map: TypeAlias = Callable[..., Iterable[Any]]
EXPLODING = np.errstate(over="ignore", invalid="ignore")  # a model that overflows is frozen


class Piece(NamedTuple):
    """Some rows of a batch: the inputs of a net, the place of its logits, and their targets.

    Attributes:
        x: (m, n, T, I) inputs.
        lengths: (m, n) valid steps; all steps if None.
        logits: (m, n, S, O), to be written.
        weight: (m, n, S, O or 1), as in `losses.Aim`; so are the next two.
        hits: (m, n, S, O).
        unscored: (m, n, S, 1), or None.
    """

    x: Array
    lengths: Array | None
    logits: Array
    weight: Array
    hits: Array
    unscored: Array | None


Batch: TypeAlias = tuple[Piece, ...]


class Gradient:
    """The gradient of all parameters (m, P) from a batch, piece by piece.

    `over_rows` maps the pieces, each on its own net; their gradients are added in the
    order of the rows, so the bits are the same on any number of threads.
    """

    def __init__(self, nets: list[Net], loss: Loss, over_rows: Map) -> None:
        self._nets = nets
        self._loss = loss
        self._over_rows = over_rows

    def __call__(self, batch: Batch) -> Array:
        """Write the logits of a batch and return its gradient (m, P).

        The next call may overwrite the returned array.
        """
        if len(batch) == 1:
            return self._of(self._nets[0], batch[0])
        return reduce(np.add, self._over_rows(self._on_a_free_net, batch))

    @EXPLODING  # NumPy's error state belongs to one thread
    def _on_a_free_net(self, piece: Piece) -> Array:
        net = self._nets.pop()
        grads = self._of(net, piece).copy()
        self._nets.append(net)
        return grads

    def _of(self, net: Net, piece: Piece) -> Array:
        x, lengths, place, weight, hits, unscored = piece
        logits, backward = net(x, lengths)
        place[...] = logits
        return backward(self._loss.gradient(logits, weight, hits, unscored))


def cut(parts: int, *arrays: Array | None) -> Iterable[Batch]:
    """Return the k batches of arrays (k, m, B, …), given in the order of a piece's fields."""
    pieces = []
    for part in range(parts):
        fields = [_part(array, part, parts) for array in arrays]
        updates = zip(*fields, strict=False)  # a field that is None never ends
        pieces.append(starmap(Piece, updates))
    return zip(*pieces, strict=True)


def _part(array: Array | None, part: int, parts: int) -> Iterable[Array | None]:
    """Return one of `parts` equal cuts along the rows of an array (k, m, B, …)."""
    if array is None:
        return repeat(None)
    updates, models = array.shape[:2]
    cuts = array.reshape(updates, models, parts, -1, *array.shape[3:])
    piece: Array = cuts[:, :, part]
    return piece

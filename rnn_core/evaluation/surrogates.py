"""Surrogates: series made of a real one, whose direction is unpredictable or predictable by design.

Each day of a surrogate is a day of the real series, with another sign. The size of its return,
|log return|, its volume and the share of its move before the open stay together; the sign is drawn
anew and turns the whole day around. The first prices and all dates stay, so folds, test days and
missing sessions are those of the real series.

    kind             keeps                                          destroys
    signs redrawn    sizes, volumes and their order (volatility     all that a sign could be told
                     clusters where it did); the share of days up   from; shifts of that share
    blocks redrawn   the same within blocks of days                 that, and the order of blocks
    a planted edge   sizes, volumes and their order                 that, and the share of days
                                                                    up, which becomes a half

Surrogates: Theiler and others, Testing for Nonlinearity in Time Series, Physica D 58 (1992) 77–94.
Signs that are independent of sizes: Wright, Alternative Variance-Ratio Tests Using Ranks and Signs,
JBES 18 (2000) 1–9. Blocks: Politis and Romano, The Stationary Bootstrap, JASA 89 (1994) 1303–1313.
A block of returns keeps what its days tell about each other, and so what there is to predict;
therefore blocks of days are drawn here without their signs.

A return of 0 counts as down. Where such days cluster, as when nobody trades for weeks, direction is
told by the days before. So they are put at random between the others, as many as there were.
"""

from dataclasses import dataclass, replace
from typing import Final
from zlib import crc32

import numpy as np
import pandas as pd

from rnn_core.data.features import log_returns
from rnn_core.data.prices import Prices
from rnn_core.evaluation.significance import block_length
from rnn_core.nn.arrays import Array


@dataclass(frozen=True)
class Kind:
    """A way to make surrogates.

    Attributes:
        name: for tables.
        in_blocks: True if days are drawn in blocks; False if they keep their order.
        edge: the probability that a day's sign is that of the day before; None if signs are
            independent, up with the share of the real series.
    """

    name: str
    in_blocks: bool = False
    edge: float | None = None


NULL: Final = (Kind("signs redrawn"), Kind("blocks redrawn", in_blocks=True))
"""The kinds without a direction to find."""


def planted(edge: float) -> Kind:
    """Return the kind whose signs repeat with probability `edge`.

    >>> planted(0.6).name
    '0.60'
    """
    return Kind(f"{edge:.2f}", edge=edge)


def surrogate(prices: Prices, kind: Kind, number: int, seed: int) -> Prices:
    """Return the surrogate of that number, the same each time for one seed."""
    rng = np.random.default_rng([seed, crc32(kind.name.encode()), number])
    returns = log_returns(prices.frame)[1:]  # (L − 1,)
    days = _days(returns, kind.in_blocks, rng)
    signs = _signs(returns, kind.edge, rng)
    return replace(
        prices,
        frame=_frame(prices.frame, days, signs),
        warnings=(),
        attainable_accuracy=None,
    )


def _days(returns: Array, in_blocks: bool, rng: np.random.Generator) -> Array:
    """Return day numbers (L − 1,): those that moved, with the others scattered between them."""
    moved = returns != 0
    order = np.flatnonzero(moved)
    if in_blocks:
        order = _drawn_in_blocks(order, block_length(np.abs(returns[moved])), rng)
    scattered = rng.permutation(moved)
    days = np.empty(len(returns), int)
    days[scattered] = order
    days[~scattered] = np.flatnonzero(~moved)
    return days


def _drawn_in_blocks(days: Array, length: int, rng: np.random.Generator) -> Array:
    from arch.bootstrap import StationaryBootstrap  # 0.5 s

    ((drawn,), _) = next(StationaryBootstrap(length, days, seed=rng).bootstrap(1))
    return np.asarray(drawn)


def _signs(returns: Array, edge: float | None, rng: np.random.Generator) -> Array:
    """Return signs (L − 1,), −1 or 1: independent ones, or for an edge a Markov chain."""
    drawn = rng.random(len(returns))
    if edge is None:
        share_up = (returns > 0).sum() / (returns != 0).sum()
        return np.where(drawn < share_up, 1.0, -1.0)
    turns = np.where(drawn < edge, 1.0, -1.0)
    turns[0] = 1.0 if drawn[0] < 0.5 else -1.0
    return np.cumprod(turns)


def _frame(frame: pd.DataFrame, days: Array, signs: Array) -> pd.DataFrame:
    """Return prices (L, F) whose days after the first are `days` (L − 1,) of `frame`, so signed."""
    returns = log_returns(frame)[1:]
    moves = np.abs(returns)[days] * signs
    first = frame.iloc[0]
    close = first["close"] * np.exp(np.append(0, np.cumsum(moves)))
    made = pd.DataFrame({"close": close}, frame.index)
    if "open" in frame:
        turned = signs * np.where(returns < 0, -1, 1)[days]
        overnight = _overnight(frame)[days] * turned
        made["open"] = np.append(first["open"], close[:-1] * np.exp(overnight))
    if "volume" in frame:
        volume = frame["volume"].to_numpy()[1:]
        made["volume"] = np.append(first["volume"], volume[days])
    return made


def _overnight(frame: pd.DataFrame) -> Array:
    """Return the log returns (L − 1,) from each close to the next open."""
    opening = frame["open"].to_numpy()[1:]
    return np.asarray(np.log(opening / frame["close"].to_numpy()[:-1]))

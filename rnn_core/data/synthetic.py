"""Daily prices from a generator: a random walk with volatility clustering."""

import hashlib
from datetime import date, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rnn_core.config import Synthetic
from rnn_core.data.exchanges import last_closed_session, sessions
from rnn_core.data.prices import Prices, checked, session_names
from rnn_core.errors import DataError

SYNTHETIC_ORIGIN = date(2000, 1, 3)
DAILY_VOLATILITY = 0.012  # standard deviation of a daily log return
ARCH, GARCH = 0.08, 0.90  # weights of yesterday's squared return and variance in today's variance


def generate(source: Synthetic, ticker: str, exchange: str, now: datetime) -> Prices:
    """The last `days` sessions of a walk that begins at a fixed origin: as time goes by, it only grows."""
    index = sessions(exchange, SYNTHETIC_ORIGIN, last_closed_session(exchange, now).date()).rename(
        "date"
    )
    if len(index) < source.days:
        raise DataError(
            f"source.days = {source.days}: {exchange} had only {len(index)} sessions from {SYNTHETIC_ORIGIN} to {now}"
        )
    name = int.from_bytes(hashlib.sha256(ticker.encode()).digest()[:8])
    frame = random_walk(
        len(index), source.edge, np.random.SeedSequence([source.seed, name])
    ).set_axis(index)
    prices = Prices(
        ticker,
        frame[-source.days :],
        "synthetic",
        "close",
        exchange,
        attainable_accuracy=0.5 + abs(source.edge),
    )
    return checked(prices, ticker, session_names(prices.frame.index), now)


def random_walk(length: int, edge: float, seed: np.random.SeedSequence) -> pd.DataFrame:
    """Prices (length, 3) `close`, `open`, `volume` whose daily log returns are r_t = s_t |sqrt(v_t) z_t|.

    The variance is a GARCH(1,1), v_t = w + a r_{t-1}^2 + b v_{t-1} (Bollerslev 1986), and the sign s_t equals s_{t-1}
    with probability 0.5 + edge, s_{-1} being +1. Signs and magnitudes have streams of their own, so that magnitudes,
    volume and open say nothing about the sign. A longer walk begins with the shorter one.
    """
    signs, magnitudes, gaps, volumes = (np.random.default_rng(stream) for stream in seed.spawn(4))
    turns = np.where(signs.random(length) < 0.5 + edge, 1.0, -1.0)
    size, volatility = _garch(magnitudes.standard_normal(length))
    close = 100 * np.exp(np.cumsum(np.cumprod(turns) * size))
    previous = np.concatenate([[100.0], close[:-1]])
    opening = previous * np.exp(0.3 * volatility * gaps.standard_normal(length))
    volume = np.exp(np.log(1e6) + 20 * size + 0.3 * volumes.standard_normal(length))
    return pd.DataFrame({"close": close, "open": opening, "volume": volume})


def _garch(z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Absolute returns (L,) and their volatility (L,), from normal draws (L,)."""
    size, volatility = np.empty_like(z), np.empty_like(z)
    variance = DAILY_VOLATILITY**2
    for t in range(len(z)):
        volatility[t] = np.sqrt(variance)
        size[t] = abs(volatility[t] * z[t])
        variance = (1 - ARCH - GARCH) * DAILY_VOLATILITY**2 + ARCH * size[t] ** 2 + GARCH * variance
    return size, volatility

"""Generate daily prices: a random walk with volatility clustering."""

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
FIRST_PRICE = 100.0
DAILY_VOLATILITY = 0.012  # standard deviation of a daily log return
ARCH = 0.08  # weight of yesterday's squared return in today's variance
GARCH = 0.90  # weight of yesterday's variance in today's


def generate(source: Synthetic, ticker: str, exchange: str, now: datetime) -> Prices:
    """Return the last `source.days` sessions of a walk that starts at a fixed day.

    As time passes the walk only grows: what was generated before stays as it was.

    Raises:
        DataError: the exchange had fewer sessions since that day.
    """
    last_session = last_closed_session(exchange, now)
    index = sessions(exchange, SYNTHETIC_ORIGIN, last_session.date()).rename("date")
    if len(index) < source.days:
        raise DataError(
            f"source.days = {source.days}: {exchange} had only {len(index)} sessions "
            f"from {SYNTHETIC_ORIGIN} to {now}"
        )
    name = int.from_bytes(hashlib.sha256(ticker.encode()).digest()[:8])
    seed = np.random.SeedSequence([source.seed, name])
    walk = random_walk(len(index), source.edge, seed).set_axis(index)
    prices = Prices(
        ticker,
        walk[-source.days :],
        source="synthetic",
        column="close",
        exchange=exchange,
        attainable_accuracy=0.5 + abs(source.edge),
    )
    return checked(prices, ticker, session_names(prices.frame.index), now)


def random_walk(length: int, edge: float, seed: np.random.SeedSequence) -> pd.DataFrame:
    """Return prices (length, 3) `close`, `open`, `volume` with daily log returns s_t |√v_t z_t|.

    The variance is a GARCH(1,1), v_t = ω + α r_{t-1}² + β v_{t-1} (Bollerslev, 1986), and the sign
    s_t equals s_{t-1} with probability 0.5 + edge, s_{-1} being +1. Signs and magnitudes come from
    separate random streams, so magnitudes, volume and open tell nothing about the sign. A longer
    walk starts with the shorter one.

    >>> random_walk(3, 0.0, np.random.SeedSequence(0))["close"].round(2).tolist()
    [99.04, 96.82, 101.34]
    """
    signs, magnitudes, gaps, volumes = (np.random.default_rng(stream) for stream in seed.spawn(4))
    turns = np.where(signs.random(length) < 0.5 + edge, 1.0, -1.0)
    size, volatility = _garch(magnitudes.standard_normal(length))
    returns = np.cumprod(turns) * size
    close = FIRST_PRICE * np.exp(np.cumsum(returns))
    previous = np.concatenate([[FIRST_PRICE], close[:-1]])
    opening = previous * np.exp(0.3 * volatility * gaps.standard_normal(length))
    volume = np.exp(np.log(1e6) + 20 * size + 0.3 * volumes.standard_normal(length))
    return pd.DataFrame({"close": close, "open": opening, "volume": volume})


def _garch(z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return absolute returns (L,) and their volatility (L,), from normal draws z (L,)."""
    size = np.empty_like(z)
    volatility = np.empty_like(z)
    long_run = DAILY_VOLATILITY**2
    variance = long_run
    for t in range(len(z)):
        volatility[t] = np.sqrt(variance)
        size[t] = abs(volatility[t] * z[t])
        variance = (1 - ARCH - GARCH) * long_run + ARCH * size[t] ** 2 + GARCH * variance
    return size, volatility

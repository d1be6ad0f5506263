"""Judge what Yahoo answers before it replaces what is stored."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rnn_core.data.prices import session_names
from rnn_core.errors import PricesUnavailable
from rnn_core.nn.arrays import Array

# Yahoo's prices come in single precision (6e-8 relative); the smallest dividends move adjusted
# closes by about 1e-5
REWRITTEN = 1e-6
SAME = 1e-4  # raw closes that differ by less are equal: after a split Yahoo rounds them anew
MOST_CHANGED = 0.5  # share of the stored raw closes that an answer may change
WILD = np.log(1.2)  # a change this large is not a correction
MOST_WILD = 0.05  # share of the stored raw closes that it may change so much
# An adjusted close may move against the raw one by this, which dividends do, and by known dividends
LARGEST_DIVIDEND = 0.2
LATE = pd.Timedelta(days=7)  # Yahoo may adjust for a dividend so long after its day


@dataclass(frozen=True)
class Answer:
    """An answer of Yahoo: the prices of a ticker from some day on, and its events.

    Attributes:
        frame: (n, 4) the store's COLUMNS by session, every close positive.
        symbol: the ticker that Yahoo answers for.
        currency: of the prices, such as USD or GBp; None if it is unknown.
        splits: new shares for an old one, by session.
        dividends: for a share, in the currency of the prices, by session.
    """

    frame: pd.DataFrame
    symbol: str
    currency: str | None
    splits: "pd.Series[float]"
    dividends: "pd.Series[float]"


def is_price(values: Array) -> NDArray[np.bool_]:
    """Return which values are prices, that is positive and finite."""
    return np.isfinite(values) & (values > 0)


def refuse_another(answer: Answer, ticker: str, currency: str | None, remedy: str) -> None:
    """Refuse an answer for another ticker, or in another currency than the stored one.

    Raises:
        PricesUnavailable: it is one; `remedy` says what to do if the answer is right.
    """
    if answer.symbol.upper() != ticker.upper():
        raise PricesUnavailable(f"Yahoo answers with prices of {answer.symbol!r}, not of {ticker}")
    if None not in (answer.currency, currency) and answer.currency != currency:
        raise PricesUnavailable(
            f"Yahoo answers with prices of {ticker} in {answer.currency}, but those stored are in "
            f"{currency}; {remedy}"
        )


def corrected(answer: Answer, stored: pd.DataFrame, ticker: str, remedy: str) -> pd.Index:
    """Return the stored sessions whose raw close a whole history changes, splits aside.

    Args:
        answer: the whole history.
        stored: (L, 4) the COLUMNS that it is to replace.
        ticker: what errors begin with.
        remedy: what to do if the answer is right.

    Raises:
        PricesUnavailable: the history is off by a factor, in its raw or its adjusted close, that no
            split and no dividend of the answer explains.
    """
    both = answer.frame.index.intersection(stored.index)
    new = answer.frame.loc[both]
    old = stored.loc[both]
    moved = np.log(new["close"].to_numpy() / old["close"].to_numpy())
    unexplained = _unexplained(moved, pd.DatetimeIndex(both), answer.splits)
    changed = unexplained > SAME
    if changed.mean() > MOST_CHANGED or (unexplained > WILD).mean() > MOST_WILD:
        factor = float(np.exp(np.median(moved[changed])))
        raise PricesUnavailable(
            f"Yahoo's closes of {ticker} are about {factor:.4g} times those stored in "
            f"{changed.sum()} of {len(both)} sessions, and no split explains it; {remedy}"
        )
    readjusted = np.log(new["adj_close"].to_numpy() / old["adj_close"].to_numpy()) - moved
    factor = float(np.exp(np.median(readjusted)))
    lowest = (1 - LARGEST_DIVIDEND) * _new_dividends(answer, stored.index[-1] - LATE)
    if not lowest <= factor <= 1 / (1 - LARGEST_DIVIDEND):
        raise PricesUnavailable(
            f"Yahoo's adjusted closes of {ticker} are about {factor:.4g} times those stored, and "
            f"no dividend explains it; {remedy}"
        )
    return both[changed]


def _unexplained(moved: Array, sessions: pd.DatetimeIndex, splits: "pd.Series[float]") -> Array:
    """Return how far (n,) the closes moved by log factors (n,) beyond splits after each session.

    Stored closes may know the earlier of these splits, so the latest ones explain a move.
    """
    unexplained = np.abs(moved)
    together = 0.0
    latest_first = splits.sort_index(ascending=False)
    for day, ratio in zip(latest_first.index, latest_first.to_numpy(), strict=True):
        together += np.log(ratio)
        by_splits = np.where(sessions < day, np.abs(moved + together), np.inf)
        unexplained = np.minimum(unexplained, by_splits)
    return unexplained


def _new_dividends(answer: Answer, since: pd.Timestamp) -> float:
    """Return the factor by which dividends after `since` lower the adjusted closes before them."""
    close_before = answer.frame["close"].shift()
    paid = answer.dividends[answer.dividends.index > since]
    shares = (paid / close_before.reindex(paid.index)).dropna()
    return float(np.prod(np.maximum(1 - shares.to_numpy(), 0)))


def agrees(recent: pd.DataFrame, stored: pd.DataFrame) -> bool:
    """Return True if the sessions that both frames (n, 4), (L, 4) have are the same in both."""
    both = stored.index.intersection(recent.index)
    closes = ["close", "adj_close"]
    return len(both) > 0 and np.allclose(
        recent.loc[both, closes], stored.loc[both, closes], rtol=REWRITTEN, atol=0
    )


def refuse_shorter(whole: pd.DataFrame, stored: pd.DataFrame, ticker: str) -> None:
    """Refuse a whole history that begins later or ends earlier than the stored one.

    Raises:
        PricesUnavailable: it does; asking again may help.
    """
    if whole.index[0] > stored.index[0] or whole.index[-1] < stored.index[-1]:
        raise PricesUnavailable(
            f"the answer holds {ticker} {_span(whole)}, less than the stored {_span(stored)}",
            transient=True,
        )


def _span(frame: pd.DataFrame) -> str:
    first, last = session_names(frame.index[[0, -1]])
    return f"from {first} to {last}"


def with_lost_sessions(
    whole: pd.DataFrame, stored: pd.DataFrame, missing: pd.DatetimeIndex
) -> pd.DataFrame:
    """Return a whole history with those of its `missing` sessions that are stored.

    They are adjusted as their neighbours were, and not restored where these differ.
    """
    both = whole.index.intersection(stored.index)
    factors = (whole.loc[both] / stored.loc[both]).reindex(stored.index)[["close", "adj_close"]]
    before = factors.ffill()
    unambiguous = np.isclose(before, factors.bfill(), rtol=REWRITTEN, atol=0).all(axis=1)
    lost = stored.index[np.asarray(unambiguous)].intersection(missing)
    restored = stored.loc[lost]
    split = before.loc[lost, "close"]
    restored = restored.assign(
        open=restored["open"] * split,
        close=restored["close"] * split,
        adj_close=restored["adj_close"] * before.loc[lost, "adj_close"],
        volume=restored["volume"] / split,
    )
    return pd.concat([whole, restored]).sort_index() if len(lost) else whole

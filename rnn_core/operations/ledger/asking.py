"""How questions about test days are written to the ledger, numbered and answered."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Row, func, select

from rnn_core.data.prices import is_synthetic
from rnn_core.evaluation.spending import Look, nth_look
from rnn_core.evaluation.verdict import SKILL
from rnn_core.operations import clock
from rnn_core.operations.ledger.tables import LOOKS
from rnn_core.operations.looks import FEW, Question, same_days

OUTCOME = np.dtype([("day", "<i4"), ("return", "<f8")])  # days since 1970


class Known(NamedTuple):
    """The questions about some days among the rows up to an id, by their numbers."""

    last_id: int
    numbers: frozenset[tuple[str, int, int]]


NOTHING_KNOWN = Known(0, frozenset())


def ask(
    connection: Connection, question: Question, run_id: str, before: int, known: Known
) -> tuple[int, Look]:
    """Write a question before it is answered, and return its row's id and which look it is.

    A question that is asked again keeps its number; another one gets the next number about its
    days, `before` that the ledger does not know counted too. So among questions about the same days
    no two have the same number, even if one is too much disguised to be known from another.
    """
    of_settings = LOOKS.c.settings == question.settings
    ordered = select(LOOKS).where(of_settings).order_by(LOOKS.c.revision, LOOKS.c.asking)
    rows = connection.execute(ordered).all()
    for _, group in groupby(rows, key=attrgetter("revision")):
        askings = list(group)
        latest = askings[-1]
        if question.repeats(
            first_day=latest.first_day,
            days=latest.days,
            last_price=latest.last_price,
            sha256=latest.sha256,
            source=latest.source,
        ):
            return _ask_again(connection, question, run_id, askings)
    earlier = about_its_days(connection, question, known).numbers
    numbers = [number for _, _, number in earlier]
    look = nth_look(1 + max(before + len(numbers), *numbers, 0))
    values = {
        "revision": rows[-1].revision + 1 if rows else 1,
        "asking": 1,
        "outcomes": _packed(question.outcomes),
    }
    return _written(connection, question, run_id, look, values), look


def _ask_again(
    connection: Connection, question: Question, run_id: str, askings: Sequence[Row[Any]]
) -> tuple[int, Look]:
    """Write another asking of the question that was asked before, by the rows `askings`."""
    latest = askings[-1]
    look = nth_look(
        latest.number,
        growth=len(question.outcomes) / askings[0].days,
        found=any(row.verdict == SKILL for row in askings),
    )
    stored = max(row.last_day for row in askings if row.outcomes is not None)
    new = question.outcomes[question.outcomes.index > pd.Timestamp(stored)]
    values = {
        "revision": latest.revision,
        "asking": latest.asking + 1,
        "outcomes": _packed(new) if len(new) >= FEW else None,
    }
    return _written(connection, question, run_id, look, values), look


def about_its_days(
    connection: Connection, question: Question, known: Known = NOTHING_KNOWN
) -> Known:
    """Return the earlier questions about days of this one; `known` are those up to some row."""
    column = LOOKS.c
    of_ticker = func.upper(column.ticker) == question.prices.ticker.upper()
    told_apart = column.outcomes.isnot(None) | of_ticker
    query = select(LOOKS).where(column.id > known.last_id, told_apart).order_by(column.id)
    last_id = known.last_id
    numbers = set(known.numbers)
    packed: dict[tuple[str, int, int], list[bytes]] = {}
    for row in connection.execute(query):
        last_id = row.id
        name = (row.settings, row.revision, row.number)
        if _of_its_ticker(question, row):
            numbers.add(name)
        elif row.outcomes is not None:
            packed.setdefault(name, []).append(row.outcomes)
    numbers |= {
        name
        for name, parts in packed.items()
        if name not in numbers and same_days(question.outcomes, _unpacked(parts))
    }
    return Known(last_id, frozenset(numbers))


def _of_its_ticker(question: Question, row: Row[Any]) -> bool:
    """Return True if a row is about the same days of the ticker, by another of its prices."""
    prices = question.prices
    if row.ticker.upper() != prices.ticker.upper():
        return False
    if is_synthetic(row.source) or is_synthetic(prices.source):
        return False
    overlap: bool = row.first_day <= question.last_day and question.first_day <= row.last_day
    return overlap


def _written(
    connection: Connection,
    question: Question,
    run_id: str,
    look: Look,
    values: Mapping[str, object],
) -> int:
    row = {
        "settings": question.settings,
        "number": look.number,
        "level": look.level,
        "ticker": question.prices.ticker,
        "run_id": run_id,
        "source": question.prices.source,
        "first_day": question.first_day,
        "last_day": question.last_day,
        "days": len(question.outcomes),
        "last_price": question.last_price,
        "sha256": question.prices.sha256,
        "asked_at": clock.machine_time(),
        **values,
    }
    inserted = connection.execute(LOOKS.insert().values(row).returning(LOOKS.c.id))
    return int(inserted.scalar_one())


def answer(connection: Connection, look_id: int, pvalue: float | None, verdict: str) -> None:
    """Write the answer to a question, once."""
    values = {"answered_at": clock.machine_time(), "pvalue": pvalue, "verdict": verdict}
    connection.execute(LOOKS.update().where(LOOKS.c.id == look_id).values(values))


def _packed(outcomes: "pd.Series[float]") -> bytes:
    table = np.empty(len(outcomes), OUTCOME)
    table["day"] = outcomes.index.to_numpy("datetime64[D]").astype(np.int32)
    table["return"] = outcomes.to_numpy()
    return table.tobytes()


def _unpacked(parts: Sequence[bytes]) -> "pd.Series[float]":
    table = np.frombuffer(b"".join(parts), OUTCOME)
    days = pd.DatetimeIndex(table["day"].astype("datetime64[D]").astype("datetime64[s]"))
    outcomes = pd.Series(table["return"], days)
    return outcomes[~outcomes.index.duplicated()]

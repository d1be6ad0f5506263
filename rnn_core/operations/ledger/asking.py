"""How questions about test days are written to the ledger, numbered and answered."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Row, select

from rnn_core.evaluation.spending import Look, nth_look
from rnn_core.evaluation.verdict import SKILL
from rnn_core.operations import clock
from rnn_core.operations.ledger.tables import LOOKS
from rnn_core.operations.looks import FEW, Question, same_days

OUTCOME = np.dtype([("day", "<i4"), ("return", "<f8")])  # days since 1970


def ask(connection: Connection, question: Question, run_id: str, before: int) -> tuple[int, Look]:
    """Write a question before it is answered, and return its row's id and which look it is.

    A question that is asked again keeps its number; another one gets the next number about its
    days, and `before` are counted too.
    """
    of_settings = LOOKS.c.settings == question.settings
    askings = select(LOOKS).where(of_settings).order_by(LOOKS.c.revision, LOOKS.c.asking)
    rows = connection.execute(askings).all()
    latest = rows[-1] if rows else None
    if latest is not None and question.repeats(
        first_day=latest.first_day,
        days=latest.days,
        last_price=latest.last_price,
        sha256=latest.sha256,
    ):
        return _ask_again(connection, question, run_id, rows)
    number = 1 + before + _others(connection, question)
    look = nth_look(number)
    values = {
        "revision": 1 if latest is None else latest.revision + 1,
        "asking": 1,
        "outcomes": _packed(question.outcomes),
    }
    return _written(connection, question, run_id, look, values), look


def _ask_again(
    connection: Connection, question: Question, run_id: str, rows: Sequence[Row[Any]]
) -> tuple[int, Look]:
    """Write another asking of the question that the latest of its settings' rows is."""
    latest = rows[-1]
    askings = [row for row in rows if row.revision == latest.revision]
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


def _others(connection: Connection, question: Question) -> int:
    """Return how many earlier questions are about days of this one."""
    column = LOOKS.c
    query = select(column.settings, column.revision, column.outcomes).order_by(column.id)
    packed: dict[tuple[str, int], list[bytes]] = {}
    for settings, revision, outcomes in connection.execute(
        query.where(column.outcomes.isnot(None))
    ):
        packed.setdefault((settings, revision), []).append(outcomes)
    return sum(same_days(question.outcomes, _unpacked(parts)) for parts in packed.values())


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
        "last_day": pd.Timestamp(question.outcomes.index[-1]).date(),
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

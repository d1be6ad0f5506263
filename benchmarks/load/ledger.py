"""A SQLite ledger of ten million forecasts: what it costs to forecast and to score a ticker."""

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from sqlalchemy import event

from benchmarks.rounds import RESULTS, machine
from rnn_core.operations.ledger import Forecast, Ledger

TICKERS = 4000
SESSIONS = 2500  # ten years
MEASURED = 25  # tickers
MOST_MS = 100.0  # that a ticker may take of the ledger's time
EPOCH = datetime(2016, 1, 4, 21, tzinfo=UTC)  # close of the first session; then one a day
FILL = """
WITH RECURSIVE numbers(number) AS (
    SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :sessions
),
days AS (
    SELECT number, number < :sessions AS settled,
        strftime('%Y-%m-%d %H:%M:%f000', :epoch, (number - 1) || ' days') AS made,
        strftime('%Y-%m-%d %H:%M:%f000', :epoch, number || ' days') AS closes,
        strftime('%Y-%m-%d %H:%M:%f000', :epoch, number || ' days', '-390 minutes') AS opens
    FROM numbers
)
INSERT INTO forecasts (
    ticker, exchange, session, last_session, opens_at, model_version, run_id, learned_to,
    probability, spread, verdict, data_source, data_sha256,
    promised_accuracy, promised_low, promised_high, promised_log_loss,
    as_of, made_at, written_at, closures, late, counted, delay,
    settled_at, up, next_return
)
SELECT :ticker, 'XNYS', date(closes), date(made), opens, 1, 'run of ' || :ticker, '2015-12-31',
    0.5, 0.02, 'no evidence', 'yahoo', 'prices of ' || :ticker || number,
    0.51, 0.48, 0.54, 0.69,
    made, made, made, 0, 0, 1, 0.0,
    iif(settled, closes, NULL), iif(settled, number % 2, NULL),
    iif(settled, 0.01 * (number % 2) - 0.005, NULL)
FROM days
"""


def main() -> list[str]:
    """Fill a ledger, and measure the ledger's own calls of a forecast and of a score."""
    with tempfile.TemporaryDirectory(prefix="ledger-") as folder:
        file = Path(folder) / "ledger.db"
        with Ledger.open(f"sqlite:///{file}") as ledger:
            began = perf_counter()
            rows = _fill(file)
            size = file.stat().st_size / 1e9
            print(f"{rows:,} rows, {size:.1f} GB, in {perf_counter() - began:.0f} s")
            statements = _noted_statements(ledger)
            taken = {work.__name__: _median_ms(work, ledger) for work in (forecast, score)}
            plans = list(_plans(file, statements))
    for work, ms in taken.items():
        print(f"{work}: {ms:.1f} ms of the ledger a ticker, median of {MEASURED}")
    for plan in plans:
        print(plan)
    content = {"machine": machine(), "rows": rows, "ms": taken, "plans": plans}
    (RESULTS / "ledger.json").write_text(json.dumps(content, indent=1) + "\n")
    return [
        f"{work} takes {ms:.0f} ms of a ledger of {rows} rows, at most {MOST_MS:.0f} are allowed"
        for work, ms in taken.items()
        if ms > MOST_MS
    ] + [f"a query reads the whole table: {plan}" for plan in plans if "SCAN forecasts" in plan]


def forecast(ledger: Ledger, ticker: str) -> None:
    """Ask and write what `flows.forecast` does for one ticker."""
    close = EPOCH + timedelta(days=SESSIONS)
    session = close + timedelta(days=1)
    ledger.decisions(ticker)
    ledger.live_forecast(ticker, session.date(), 1)
    row = Forecast(
        ticker=ticker,
        exchange="XNYS",
        session=session.date(),
        last_session=close.date(),
        opens_at=session - timedelta(hours=6.5),
        model_version=1,
        run_id="run",
        learned_to=EPOCH.date(),
        probability=0.5,
        spread=0.02,
        verdict="no evidence",
        data_source="yahoo",
        data_sha256="prices",
        promised_accuracy=0.51,
        promised_low=0.48,
        promised_high=0.54,
        promised_log_loss=0.69,
        as_of=close,
    )
    ledger.record(row)


def score(ledger: Ledger, ticker: str) -> None:
    """Ask and write what `flows.score` does for one ticker."""
    ledger.exchanges(ticker)
    ledger.last_forecast(ticker)
    for row in ledger.open_forecasts(ticker):
        ledger.settle(row.id, 0.01, EPOCH + timedelta(days=SESSIONS + 1))
    ledger.decisions(ticker)
    ledger.forecasts(ticker)
    ledger.promoted_at(ticker, 1)


def _fill(file: Path) -> int:
    epoch = f"{EPOCH:%Y-%m-%d %H:%M:%S}"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            for number in range(TICKERS):
                values = {"ticker": f"T{number:05}", "epoch": epoch, "sessions": SESSIONS}
                connection.execute(FILL, values)
        return int(connection.execute("SELECT COUNT(*) FROM forecasts").fetchone()[0])


def _median_ms(work: Callable[[Ledger, str], None], ledger: Ledger) -> float:
    """Return the median time of a ticker, in milliseconds; those measured stand far apart."""
    taken = []
    for number in range(0, TICKERS, TICKERS // MEASURED):
        began = perf_counter()
        work(ledger, f"T{number:05}")
        taken.append(1000 * (perf_counter() - began))
    return median(taken)


def _noted_statements(ledger: Ledger) -> dict[str, Any]:
    """Return a dict to which each statement about forecasts is added, with its parameters."""
    statements: dict[str, Any] = {}

    @event.listens_for(ledger._engine, "before_cursor_execute")
    def _note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if "forecasts" in statement:
            statements.setdefault(statement, parameters)

    return statements


def _plans(file: Path, statements: dict[str, Any]) -> Iterator[str]:
    """Yield each statement in short, with what SQLite says it does."""
    with closing(sqlite3.connect(file)) as connection:
        for statement, parameters in statements.items():
            steps = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plan = "; ".join(step[-1] for step in steps)
            words = statement.split()
            where = " ".join(words[words.index("WHERE") :]) if "WHERE" in words else ""
            yield f"{words[0]} … {where[:100]}: {plan or 'writes a row'}"

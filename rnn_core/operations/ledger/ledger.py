"""The ledger: forecasts of sessions and what came true, champions, and looks at test days.

Three append-only tables in SQLite or PostgreSQL. The database itself enforces their rules, by the
constraints and triggers in `migrations/`, whichever program writes to it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from math import isfinite
from typing import Any, Self

import pandas as pd
from sqlalchemy import (
    CTE,
    Column,
    ColumnElement,
    Engine,
    Row,
    Table,
    func,
    literal,
    select,
    union,
)

from rnn_core.errors import LedgerError
from rnn_core.evaluation.spending import Look
from rnn_core.operations import clock
from rnn_core.operations.ledger import asking
from rnn_core.operations.ledger.claims import claimed
from rnn_core.operations.ledger.database import DEFAULT_URL, engine_at, exclusive, migrate
from rnn_core.operations.ledger.decisions import (
    Decision,
    champions_in_force,
    decision_names,
)
from rnn_core.operations.ledger.forecast import Forecast
from rnn_core.operations.ledger.tables import FORECASTS, LOOKS, PROMOTIONS, pandas_dtypes
from rnn_core.operations.looks import Question
from rnn_core.operations.replay import GRACE


class Ledger:
    """Forecasts and promotions in one database, which threads and processes may share.

    Times are aware UTC datetimes. Every method raises LedgerError, of one line, if the database
    fails or refuses.

    >>> from tempfile import mkdtemp
    >>> with Ledger.open(f"sqlite:///{mkdtemp()}/ledger.db") as ledger:
    ...     ledger.champions("MSFT")
    []
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str | None = None) -> Self:
        """Open the ledger at `url`, else at LEDGER_URL, else in data/ledger.db.

        Its tables are created or brought up to date if necessary.

        Raises:
            LedgerError: the database cannot be used, or a newer version of this program wrote it.
        """
        engine = engine_at(url or os.environ.get("LEDGER_URL") or DEFAULT_URL)
        try:
            migrate(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(
        self, forecast: Forecast, *, grace: timedelta = GRACE, own_sessions: bool = False
    ) -> Row[Any]:
        """Write a forecast, and return its row, with the columns of `forecasts` as attributes.

        It is a replay unless it counts as live by the machine's clock at this moment, and then the
        column `replay` says why. Of the live forecasts of a session the first one counts. Nothing
        is written, and the earlier row is returned, if the same model already has a live forecast
        of that session, or if this is a replay from the same prices as an earlier one.

        Args:
            forecast: what is written.
            grace: time after the open in which it still counts if its session opens at the moment
                the one before closes.
            own_sessions: True if the rows of the prices are the sessions, and not the exchange's.
        """
        with exclusive(self._engine, FORECASTS.name, forecast.ticker) as connection:
            row = forecast.row(clock.machine_time(), grace=grace, own_sessions=own_sessions)
            same_session = _session_of(forecast.ticker, forecast.session)
            earlier_rows = connection.execute(select(FORECASTS).where(same_session)).all()
            for earlier in earlier_rows:
                if _repeats(row, earlier):
                    return earlier
            first = not any(earlier.counted for earlier in earlier_rows)
            row["counted"] = row["replay"] is None and first
            return connection.execute(FORECASTS.insert().values(row).returning(FORECASTS)).one()

    def forecasts(self, ticker: str | None = None) -> pd.DataFrame:
        """Return all forecasts, or those of a ticker, by session and then by id.

        It has the columns of the table: `session` and `last_session` are datetime.date, times are
        UTC, `up` is a nullable boolean. `replay` says why a forecast does not count as live; None
        if it does. A row with `settled_at` and without `up` is void: the session had no price, or
        one before it that counted as a closure had one after all.
        """
        return self._frame(FORECASTS, ticker, FORECASTS.c.session, FORECASTS.c.id)

    def open_forecasts(self, ticker: str) -> Sequence[Row[Any]]:
        """Return the rows of a ticker's forecasts that are not settled, by session and by id."""
        is_open = (FORECASTS.c.ticker == ticker) & FORECASTS.c.settled_at.is_(None)
        query = select(FORECASTS).where(is_open).order_by(FORECASTS.c.session, FORECASTS.c.id)
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def last_forecast(self, ticker: str) -> Row[Any]:
        """Return the row of the last session that was forecast of a ticker.

        Raises:
            LedgerError: no session of the ticker was ever forecast.
        """
        query = select(FORECASTS).where(FORECASTS.c.ticker == ticker)
        latest_first = FORECASTS.c.session.desc(), FORECASTS.c.id.desc()
        with self._engine.connect() as connection:
            row = connection.execute(query.order_by(*latest_first).limit(1)).one_or_none()
        if row is None:
            raise LedgerError(f"the ledger has no forecasts of {ticker}")
        return row

    def live_forecast(self, ticker: str, session: date, model_version: int) -> Row[Any] | None:
        """Return the row of the model's live forecast of a session, or None if there is none."""
        of_model = FORECASTS.c.model_version == model_version
        live = FORECASTS.c.replay.is_(None)
        query = select(FORECASTS).where(_session_of(ticker, session), of_model, live)
        with self._engine.connect() as connection:
            return connection.execute(query).one_or_none()

    def exchanges(self, ticker: str | None = None) -> dict[str, str]:
        """Return the exchange of each ticker that was ever forecast, or of `ticker` alone.

        It is that of the ticker's last session.
        """
        one = select(literal(ticker).label("ticker")).cte("tickers")
        tickers = _tickers() if ticker is None else one
        of_ticker = select(FORECASTS.c.exchange).where(FORECASTS.c.ticker == tickers.c.ticker)
        last = of_ticker.order_by(FORECASTS.c.session.desc(), FORECASTS.c.id.desc()).limit(1)
        query = select(tickers.c.ticker, last.scalar_subquery()).order_by(tickers.c.ticker)
        with self._engine.connect() as connection:
            pairs = connection.execute(query).tuples()
            return {ticker: exchange for ticker, exchange in pairs if exchange is not None}

    def prices_forecast_from(self) -> set[str]:
        """Return the SHA-256 of all prices that forecasts were made from."""
        with self._engine.connect() as connection:
            return set(connection.scalars(select(FORECASTS.c.data_sha256).distinct()))

    def settle(self, forecast_id: int, next_return: float | None, at: datetime) -> bool:
        """Write the outcome of a forecast, once.

        Args:
            forecast_id: the row.
            next_return: the session's log return, dimensionless; None makes the row void. The
                session was up if this is above 0.
            at: when the outcome became known, UTC.

        Returns:
            True if it was written, False if the forecast is unknown or settled already.

        Raises:
            LedgerError: the return is NaN or infinite.
        """
        values: dict[str, object] = {"settled_at": at}
        if next_return is not None:
            if not isfinite(next_return):
                raise LedgerError(
                    f"return {next_return} of forecast {forecast_id}: "
                    "a finite number or None is expected"
                )
            values["up"] = bool(next_return > 0)
            values["next_return"] = float(next_return)
        unsettled = (FORECASTS.c.id == forecast_id) & FORECASTS.c.settled_at.is_(None)
        with self._engine.begin() as connection:
            settled = connection.execute(FORECASTS.update().where(unsettled).values(values))
            return settled.rowcount == 1

    def champions(self, ticker: str) -> list[int]:
        """Return the champions in force, oldest first.

        A promotion adds one; a rollback removes the last one.
        """
        with self._engine.connect() as connection:
            return champions_in_force(connection, ticker)

    def decisions(self, ticker: str) -> list[str]:
        """Return the name of every decision on a ticker's champion, as `Decision.names` does."""
        with self._engine.connect() as connection:
            return decision_names(connection, ticker)

    def decided(self) -> set[str]:
        """Return the tickers on whose champion a decision was ever made."""
        with self._engine.connect() as connection:
            return set(connection.scalars(select(PROMOTIONS.c.ticker).distinct()))

    def promotions(self, ticker: str | None = None) -> pd.DataFrame:
        """Return all promotions and rollbacks, or those of a ticker, by ticker and number.

        `previous_version` is a nullable integer: the first champion has no predecessor.
        """
        return self._frame(PROMOTIONS, ticker, PROMOTIONS.c.ticker, PROMOTIONS.c.number)

    def promoted_at(self, ticker: str, model_version: int) -> datetime | None:
        """Return when the version last became, or became again, the champion; None if never."""
        column = PROMOTIONS.c
        of_version = (column.ticker == ticker) & (column.model_version == model_version)
        query = select(column.decided_at).where(of_version).order_by(column.number.desc()).limit(1)
        with self._engine.connect() as connection:
            return connection.scalar(query)

    def promotion_by(self, ticker: str, run_id: str) -> Row[Any] | None:
        """Return the promotion of a version that this run has trained, None if there is none."""
        column = PROMOTIONS.c
        by_run = (column.ticker == ticker) & (column.run_id == run_id)
        query = select(PROMOTIONS).where(by_run).order_by(column.number).limit(1)
        with self._engine.connect() as connection:
            return connection.execute(query).one_or_none()

    @contextmanager
    def deciding(self, ticker: str) -> Iterator[Decision]:
        """Open a decision on a ticker's champion; nobody else decides on it meanwhile.

        What is decided is written at the end of the block, unless that raises. On SQLite nobody
        else can write to the file meanwhile, this ledger's other methods included: a block that
        writes to MLflow needs MLflow's tables in another file.
        """
        with exclusive(self._engine, PROMOTIONS.name, ticker) as connection:
            yield Decision(ticker, connection)

    def ask(self, question: Question, run_id: str, *, before: int = 0) -> tuple[int, Look]:
        """Write a question about test days, before anybody sees its answer.

        Returns:
            The id of its row, for `answer`, and which look at these days it is. `before` looks that
            this ledger does not know are counted too.
        """
        with self._engine.connect() as connection:  # comparing takes long: others may write
            known = asking.about_its_days(connection, question)
        with exclusive(self._engine, LOOKS.name) as connection:
            return asking.ask(connection, question, run_id, before, known)

    def answer(self, look_id: int, pvalue: float | None, verdict: str) -> None:
        """Write the p-value and the verdict that answer a question, once."""
        with self._engine.begin() as connection:
            asking.answer(connection, look_id, pvalue, verdict)

    def looks(self, ticker: str | None = None) -> pd.DataFrame:
        """Return all askings, or those of a ticker, oldest first, without the returns.

        A row without a verdict was asked by a run that did not end.
        """
        return self._frame(LOOKS, ticker, LOOKS.c.id).drop(columns="outcomes")

    @contextmanager
    def claim(self, *subject: str) -> Iterator[None]:
        """Hold the claim on a subject, whose words can name a file; wait if another holds it.

        Nothing is locked but the subject: the block may write to this ledger, and so may others.
        """
        with claimed(self._engine, *subject):
            yield

    def versions(self, ticker: str) -> set[int]:
        """Return the model versions that any row of the ticker names; they must be kept."""
        by_table = [
            select(table.c.model_version).where(table.c.ticker == ticker)
            for table in (FORECASTS, PROMOTIONS)
        ]
        with self._engine.connect() as connection:
            return set(connection.scalars(union(*by_table)))

    def _frame(self, table: Table, ticker: str | None, *order: Column[Any]) -> pd.DataFrame:
        query = select(table).order_by(*order)
        if ticker is not None:
            query = query.where(table.c.ticker == ticker)
        with self._engine.connect() as connection:
            # Plain tuples: pandas asks each row of SQLAlchemy in vain for attributes it may have
            rows = [tuple(row) for row in connection.execute(query)]
        return pd.DataFrame(rows, columns=list(table.c.keys())).astype(pandas_dtypes(table))


def _tickers() -> CTE:
    """Return the tickers in order, each found in the index after the one before.

    `DISTINCT` would read all of their forecasts.
    """
    ticker = FORECASTS.c.ticker
    tickers = select(func.min(ticker).label("ticker")).cte("tickers", recursive=True)
    following = select(func.min(ticker)).where(ticker > tickers.c.ticker).scalar_subquery()
    return tickers.union_all(select(following).where(tickers.c.ticker.is_not(None)))


def _session_of(ticker: str, session: date) -> ColumnElement[bool]:
    return (FORECASTS.c.ticker == ticker) & (FORECASTS.c.session == session)


def _repeats(row: Mapping[str, object], earlier: Row[Any]) -> bool:
    """Return True if the new row says nothing that the earlier one of its session does not."""
    if row["model_version"] != earlier.model_version:
        return False
    both_replays = row["replay"] is not None and row["data_sha256"] == earlier.data_sha256
    return earlier.replay is None or both_replays

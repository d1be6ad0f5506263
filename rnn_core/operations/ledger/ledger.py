"""The ledger: what was said before a session and what came true, and which model was champion when.

Two append-only tables in SQLite or PostgreSQL. Their rules (constraints, and triggers that refuse rewriting) are in
`migrations/` and are held by the database, whoever writes to it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any, Self

import pandas as pd
from sqlalchemy import Column, Connection, Engine, Row, Table, func, select, union

from rnn_core.errors import LedgerError
from rnn_core.operations.ledger.database import DEFAULT_URL, alone, engine_at, migrate
from rnn_core.operations.ledger.tables import DTYPES, FORECASTS, NULLABLE_DTYPES, PROMOTIONS


@dataclass(frozen=True)
class Forecast:
    """One call of a model on one session, as it is said before the session opens.

    Attributes:
        ticker: as Yahoo spells it.
        exchange: MIC of the exchange calendar.
        session: the day that is forecast.
        last_session: the session at whose close the call is made.
        opens_at: when the session opens, UTC.
        model_version: of the registered model that calls.
        run_id: the tracked run that trained it.
        probability: that the session closes above the last one.
        spread: standard deviation of the probability over the ensemble; None where undefined, as the promises.
        verdict: what could be said of the model when it was trained.
        data_source: where the prices came from.
        data_sha256: of the prices.
        promised_accuracy: share of sessions that the model's walk-forward called right.
        promised_low: lower end of that accuracy's interval.
        promised_high: upper end.
        promised_log_loss: mean log loss of the walk-forward, nats.
        made_at: when the call is made by the flow's clock, which may be set, UTC.
    """

    ticker: str
    exchange: str
    session: date
    last_session: date
    opens_at: datetime
    model_version: int
    run_id: str
    probability: float
    spread: float | None
    verdict: str
    data_source: str
    data_sha256: str
    promised_accuracy: float | None
    promised_low: float | None
    promised_high: float | None
    promised_log_loss: float | None
    made_at: datetime

    @property
    def late(self) -> bool:
        """Whether the session had opened when the call was made."""
        return self.made_at >= self.opens_at


@dataclass(frozen=True)
class Decision:
    """The right to decide on a ticker's champion while nobody else does; made by `Ledger.deciding`."""

    ticker: str
    connection: Connection

    @property
    def champions(self) -> list[int]:
        """The champions in force, oldest first: the last one serves, those before it are what a rollback returns to."""
        return _champions(self.connection, self.ticker)

    def promote(self, model_version: int, *, reason: str, run_id: str, at: datetime) -> None:
        """Make `model_version`, trained by the run `run_id`, the champion.

        Raises LedgerError if it is the champion already.
        """
        champions = self.champions
        if champions[-1:] == [model_version]:
            raise LedgerError(
                f"version {model_version} of {self.ticker} is the champion already; promote another"
            )
        self._append(
            "promotion", model_version, champions[-1] if champions else None, reason, run_id, at
        )

    def roll_back(self, *, reason: str, at: datetime) -> int:
        """Return to the champion before the present one, and return its version.

        Raises LedgerError if there is none.
        """
        champions = self.champions
        if len(champions) < 2:
            known = f"only version {champions[0]}" if champions else "none"
            raise LedgerError(
                f"{self.ticker} has no earlier champion to return to: {known} is in force; promote one"
            )
        earlier, present = champions[-2:]
        self._append("rollback", earlier, present, reason, None, at)
        return earlier

    def _append(
        self,
        kind: str,
        version: int,
        previous: int | None,
        reason: str,
        run_id: str | None,
        at: datetime,
    ) -> None:
        last = select(func.max(PROMOTIONS.c.number)).where(PROMOTIONS.c.ticker == self.ticker)
        self.connection.execute(
            PROMOTIONS.insert().values(
                ticker=self.ticker,
                number=(self.connection.scalar(last) or 0) + 1,
                model_version=version,
                previous_version=previous,
                kind=kind,
                reason=reason,
                run_id=run_id,
                decided_at=at,
            )
        )


class Ledger:
    """Forecasts and promotions in one database; threads may share it, and processes may open it at once.

    with Ledger.open() as ledger:
        row = ledger.record(forecast)

    Times are aware UTC datetimes. Every method raises LedgerError, one line, where the database cannot do its part.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str | None = None) -> Self:
        """The ledger at `url`, else at LEDGER_URL, else in data/ledger.db; made or brought up to date where needed.

        Raises LedgerError if the database cannot be used or was written by a newer version of this program.
        """
        ledger = cls(engine_at(url or os.environ.get("LEDGER_URL") or DEFAULT_URL))
        try:
            migrate(ledger._engine)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, forecast: Forecast) -> Row[Any]:
        """Write a forecast down, and return its row, with the columns of `forecasts` as attributes.

        If the same model has spoken on that session already, nothing is written, and what it said then is returned. A
        forecast counts if it is not late and nothing was said of that ticker and session before. `written_at` is this
        machine's clock, whatever the flow's is set to.
        """
        column = FORECASTS.c
        said = (column.ticker == forecast.ticker) & (column.session == forecast.session)
        with alone(self._engine, FORECASTS.name, forecast.ticker) as connection:
            rows = connection.execute(select(FORECASTS).where(said)).all()
            for row in rows:
                if row.model_version == forecast.model_version:
                    return row
            counted = not (forecast.late or rows)
            values = asdict(forecast) | {
                "late": forecast.late,
                "counted": counted,
                "written_at": datetime.now(UTC),
            }
            return connection.execute(FORECASTS.insert().values(values).returning(FORECASTS)).one()

    def forecasts(self, ticker: str | None = None) -> pd.DataFrame:
        """All forecasts, or those of a ticker, by session and then by id.

        One column for each of the table: `session` and `last_session` datetime.date, times UTC, `up` a nullable
        boolean. A row with `settled_at` and without `up` is void: that session had no price.
        """
        return self._frame(FORECASTS, ticker, FORECASTS.c.session, FORECASTS.c.id)

    def said(self, ticker: str, session: date, model_version: int) -> Row[Any] | None:
        """What the model has said of the session already, with the columns of `forecasts` as attributes."""
        column = FORECASTS.c
        which = (
            (column.ticker == ticker)
            & (column.session == session)
            & (column.model_version == model_version)
        )
        with self._engine.connect() as connection:
            return connection.execute(select(FORECASTS).where(which)).one_or_none()

    def exchanges(self) -> dict[str, str]:
        """The exchange of each ticker that was ever forecast."""
        each = (
            select(FORECASTS.c.ticker, FORECASTS.c.exchange).distinct().order_by(FORECASTS.c.ticker)
        )
        with self._engine.connect() as connection:
            return dict(connection.execute(each).tuples().all())

    def settle(self, forecast_id: int, next_return: float | None, at: datetime) -> bool:
        """Write down what came true: the session's log return, or None if it had no price; once.

        Returns False, and writes nothing, if there is no such forecast that is not settled yet. `up` is a return
        above 0. Raises LedgerError for a return that is no finite number.
        """
        if next_return is not None and not isfinite(next_return):
            raise LedgerError(
                f"return {next_return} of forecast {forecast_id}: a finite number or None is expected"
            )
        outcome = (
            {}
            if next_return is None
            else {"up": bool(next_return > 0), "next_return": float(next_return)}
        )
        unsettled = (FORECASTS.c.id == forecast_id) & FORECASTS.c.settled_at.is_(None)
        with self._engine.begin() as connection:
            settled = connection.execute(
                FORECASTS.update().where(unsettled).values(settled_at=at, **outcome)
            )
            return settled.rowcount == 1

    def champions(self, ticker: str) -> list[int]:
        """The champions in force, oldest first: a promotion adds one, a rollback takes the last one away."""
        with self._engine.connect() as connection:
            return _champions(connection, ticker)

    def promotions(self, ticker: str | None = None) -> pd.DataFrame:
        """All promotions and rollbacks, or those of a ticker, by ticker and number; `previous_version` nullable."""
        return self._frame(PROMOTIONS, ticker, PROMOTIONS.c.ticker, PROMOTIONS.c.number)

    def promoted_at(self, ticker: str, model_version: int) -> datetime | None:
        """When the version became the champion, or became it again, for the last time; None if it never did."""
        column = PROMOTIONS.c
        which = (column.ticker == ticker) & (column.model_version == model_version)
        with self._engine.connect() as connection:
            return connection.scalar(
                select(column.decided_at).where(which).order_by(column.number.desc()).limit(1)
            )

    @contextmanager
    def deciding(self, ticker: str) -> Iterator[Decision]:
        """A transaction in which nobody else decides on the ticker; what it holds is written unless the block raises.

        On SQLite nobody else writes anything to the file meanwhile, this ledger's other methods included: a block that
        writes to MLflow needs MLflow's tables in another file.
        """
        with alone(self._engine, PROMOTIONS.name, ticker) as connection:
            yield Decision(ticker, connection)

    def versions(self, ticker: str) -> set[int]:
        """The model versions that any row of the ticker names: models that must be kept."""
        named = (
            select(table.c.model_version).where(table.c.ticker == ticker)
            for table in (FORECASTS, PROMOTIONS)
        )
        with self._engine.connect() as connection:
            return set(connection.scalars(union(*named)))

    def _frame(self, table: Table, ticker: str | None, *order: Column[Any]) -> pd.DataFrame:
        query = select(table).order_by(*order)
        if ticker is not None:
            query = query.where(table.c.ticker == ticker)
        dtypes = {c.name: DTYPES[type(c.type)] for c in table.c if type(c.type) in DTYPES}
        dtypes |= {name: dtype for name, dtype in NULLABLE_DTYPES.items() if name in table.c}
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return pd.DataFrame(rows, columns=list(table.c.keys())).astype(dtypes)


def _champions(connection: Connection, ticker: str) -> list[int]:
    query = select(PROMOTIONS.c.kind, PROMOTIONS.c.model_version).where(
        PROMOTIONS.c.ticker == ticker
    )
    champions: list[int] = []
    for kind, version in connection.execute(query.order_by(PROMOTIONS.c.number)):
        if kind == "promotion":
            champions.append(version)
        else:
            champions.pop()
    return champions

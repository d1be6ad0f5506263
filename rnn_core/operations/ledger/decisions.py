"""Decisions on a ticker's champion: promotions, rollbacks, and who is in force after them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from rnn_core.errors import LedgerError
from rnn_core.operations.ledger.tables import PROMOTIONS


@dataclass(frozen=True)
class Decision:
    """An open decision on a ticker's champion; others wait until `Ledger.deciding` ends it."""

    ticker: str
    connection: Connection

    @property
    def champions(self) -> list[int]:
        """The champions in force, oldest first; the last one serves."""
        return champions_in_force(self.connection, self.ticker)

    @property
    def runs(self) -> dict[int, str]:
        """The runs that trained the champions in force, by version."""
        column = PROMOTIONS.c
        trained = column.run_id.isnot(None) & (column.ticker == self.ticker)
        query = select(column.model_version, column.run_id).where(trained).order_by(column.number)
        by_version = dict(self.connection.execute(query).tuples().all())
        return {version: by_version[version] for version in self.champions}

    @property
    def last(self) -> Row[Any] | None:
        """The row of the latest promotion or rollback, None if there is none."""
        of_ticker = PROMOTIONS.c.ticker == self.ticker
        latest_first = select(PROMOTIONS).where(of_ticker).order_by(PROMOTIONS.c.number.desc())
        return self.connection.execute(latest_first.limit(1)).one_or_none()

    @property
    def names(self) -> list[str]:
        """The name of every decision on the ticker, oldest first, after the one of no decision."""
        return decision_names(self.connection, self.ticker)

    def promote(self, model_version: int, *, reason: str, run_id: str, at: datetime) -> None:
        """Make `model_version`, trained by the run `run_id`, the champion.

        Raises:
            LedgerError: it is the champion already. A version of the same number by another run is
                not: numbers begin anew after MLflow's store was deleted.
        """
        champions = self.champions
        present = champions[-1] if champions else None
        if model_version == present and self.runs.get(model_version) == run_id:
            raise LedgerError(
                f"version {model_version} of {self.ticker} is the champion already; promote another"
            )
        self._append(
            model_version=model_version,
            previous_version=present,
            kind="promotion",
            reason=reason,
            run_id=run_id,
            decided_at=at,
        )

    def champion_before(self) -> int:
        """Return the champion in force before the present one.

        Raises:
            LedgerError: there is none.
        """
        champions = self.champions
        if len(champions) < 2:
            in_force = f"only version {champions[0]}" if champions else "none"
            raise LedgerError(
                f"{self.ticker} has no earlier champion to return to: {in_force} is in force; "
                "to begin anew, remove its alias champion in MLflow and retrain"
            )
        return champions[-2]

    def roll_back(self, *, reason: str, at: datetime, to: int | None = None) -> int:
        """Return to the champion before the present one, or to the earlier champion `to`.

        Returns:
            The version of the earlier champion, which serves again.

        Raises:
            LedgerError: there is no earlier champion, or none of version `to`.
        """
        version = self.champion_before() if to is None else to
        *earlier, present = self.champions
        if version not in earlier:
            raise LedgerError(f"version {version} of {self.ticker} is no earlier champion in force")
        self._append(
            model_version=version,
            previous_version=present,
            kind="rollback",
            reason=reason,
            run_id=None,
            decided_at=at,
        )
        return version

    def _append(self, **values: object) -> None:
        of_ticker = PROMOTIONS.c.ticker == self.ticker
        last_number = select(func.max(PROMOTIONS.c.number)).where(of_ticker)
        number = (self.connection.scalar(last_number) or 0) + 1
        self.connection.execute(
            PROMOTIONS.insert().values(ticker=self.ticker, number=number, **values)
        )


def champions_in_force(connection: Connection, ticker: str) -> list[int]:
    """Return the champions in force, oldest first, by replaying promotions and rollbacks.

    A rollback ends those after the one it returns to.
    """
    column = PROMOTIONS.c
    of_ticker = column.ticker == ticker
    query = select(column.kind, column.model_version).where(of_ticker).order_by(column.number)
    champions: list[int] = []
    for kind, version in connection.execute(query):
        if kind == "promotion":
            champions.append(version)
            continue
        champions.pop()
        while champions[-1] != version:
            champions.pop()
    return champions


def decision_names(connection: Connection, ticker: str) -> list[str]:
    """Return the name of every decision on the ticker, oldest first, after that of no decision.

    A name is found in no other ledger, unless that holds the same decision.
    """
    of_ticker = PROMOTIONS.c.ticker == ticker
    query = select(PROMOTIONS).where(of_ticker).order_by(PROMOTIONS.c.number)
    names = [
        f"{row.number}: {row.kind} of version {row.model_version} at {row.decided_at.isoformat()}"
        for row in connection.execute(query)
    ]
    return ["0: none", *names]

"""Decisions on a ticker's champion: promotions, rollbacks, and who is in force after them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

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

    def roll_back(self, *, reason: str, at: datetime) -> int:
        """Return to the champion before the present one.

        Returns:
            The version of the earlier champion, which serves again.

        Raises:
            LedgerError: there is no earlier champion.
        """
        champions = self.champions
        if len(champions) < 2:
            in_force = f"only version {champions[0]}" if champions else "none"
            raise LedgerError(
                f"{self.ticker} has no earlier champion to return to: {in_force} is in force; "
                "to begin anew, remove its alias champion in MLflow and retrain"
            )
        earlier, present = champions[-2:]
        self._append(
            model_version=earlier,
            previous_version=present,
            kind="rollback",
            reason=reason,
            run_id=None,
            decided_at=at,
        )
        return earlier

    def _append(self, **values: object) -> None:
        of_ticker = PROMOTIONS.c.ticker == self.ticker
        last_number = select(func.max(PROMOTIONS.c.number)).where(of_ticker)
        number = (self.connection.scalar(last_number) or 0) + 1
        self.connection.execute(
            PROMOTIONS.insert().values(ticker=self.ticker, number=number, **values)
        )


def champions_in_force(connection: Connection, ticker: str) -> list[int]:
    """Return the champions in force, oldest first, by replaying promotions and rollbacks."""
    column = PROMOTIONS.c
    of_ticker = column.ticker == ticker
    query = select(column.kind, column.model_version).where(of_ticker).order_by(column.number)
    champions: list[int] = []
    for kind, version in connection.execute(query):
        if kind == "promotion":
            champions.append(version)
        else:
            champions.pop()
    return champions

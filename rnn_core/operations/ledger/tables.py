"""The tables of the ledger, and the pandas types of their columns."""

from datetime import UTC, datetime

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
)


class Timestamp(TypeDecorator[datetime]):
    """An aware UTC datetime, also where the database has no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC.

        Raises:
            ValueError: the time has no zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time {value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC, the zone in which a database without time zones keeps it."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


TABLES = MetaData()
FORECASTS = Table(
    "forecasts",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("ticker", String),
    Column("exchange", String),
    Column("session", Date),
    Column("last_session", Date),
    Column("opens_at", Timestamp),
    Column("model_version", Integer),
    Column("run_id", String),
    Column("probability", Double),
    Column("spread", Double),
    Column("verdict", String),
    Column("data_source", String),
    Column("data_sha256", String),
    Column("promised_accuracy", Double),
    Column("promised_low", Double),
    Column("promised_high", Double),
    Column("promised_log_loss", Double),
    Column("made_at", Timestamp),
    Column("written_at", Timestamp),
    Column("late", Boolean),
    Column("counted", Boolean),
    Column("settled_at", Timestamp),
    Column("up", Boolean),
    Column("next_return", Double),
    Column("as_of", Timestamp),
    Column("delay", Double),
    Column("learned_to", Date),
    Column("closures", Integer),
    Column("replay", String),
)
PROMOTIONS = Table(
    "promotions",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("ticker", String),
    Column("number", Integer),
    Column("model_version", Integer),
    Column("previous_version", Integer),
    Column("kind", String),
    Column("reason", String),
    Column("run_id", String),
    Column("decided_at", Timestamp),
)
LOOKS = Table(
    "looks",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("settings", String),
    Column("revision", Integer),
    Column("asking", Integer),
    Column("number", Integer),
    Column("level", Double),
    Column("ticker", String),
    Column("run_id", String),
    Column("source", String),
    Column("first_day", Date),
    Column("last_day", Date),
    Column("days", Integer),
    Column("last_price", Date),
    Column("sha256", String),
    Column("outcomes", LargeBinary),
    Column("asked_at", Timestamp),
    Column("answered_at", Timestamp),
    Column("pvalue", Double),
    Column("verdict", String),
)
DTYPES = {Integer: "int64", Double: "float64", Boolean: "bool", Timestamp: "datetime64[us, UTC]"}
NULLABLE_DTYPES = {"up": "boolean", "previous_version": "Int64"}


def pandas_dtypes(table: Table) -> dict[str, str]:
    """Return the pandas dtype of each column that has one of its own, by name."""
    dtypes = {}
    for column in table.c:
        if column.name in NULLABLE_DTYPES:
            dtypes[column.name] = NULLABLE_DTYPES[column.name]
        elif type(column.type) in DTYPES:
            dtypes[column.name] = DTYPES[type(column.type)]
    return dtypes

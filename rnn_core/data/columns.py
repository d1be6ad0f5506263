"""The columns of a table, by the names that they usually have."""

import re
from pathlib import Path

import pandas as pd

from rnn_core.errors import DataError

# Usual names of a file's columns in order of preference, as lower-case letters only
DATE_NAMES = ("date", "datetime", "timestamp", "time", "day", "날짜", "일자", "거래일", "datum")
ADJUSTED_NAMES = (
    *("adjclose", "adjustedclose", "closeadj", "closeadjusted", "adjcloseprice"),
    *("수정종가", "수정주가"),
)
RAW_NAMES = (
    *("close", "closeprice", "closelast", "price", "last", "lastprice"),
    *("종가", "schluss", "schlusskurs"),
)
UNADJUSTED_NAMES = ("unadjustedclose", "closeunadjusted", "closeunadj", "rawclose", "closeraw")
OPEN_NAMES = ("open", "openprice", "시가", "eröffnung")
VOLUME_NAMES = ("volume", "vol", "거래량", "volumen")
PRICE_NAMES = {*ADJUSTED_NAMES, *RAW_NAMES, *UNADJUSTED_NAMES, *OPEN_NAMES, *VOLUME_NAMES}

MOST_NAMED = 12  # columns that an error names


def find_column(
    path: Path, table: pd.DataFrame, named: str | None, usual: tuple[str, ...], kind: str
) -> str:
    """Return the column that the option names, else the first by a usual name.

    Raises:
        DataError: there is none, or there are several.
    """
    column = first_column(table, usual) if named is None else named
    if column is None or column not in table:
        missing = f"no {kind} column by a usual name" if named is None else f"no column {named!r}"
        names = [repr(shortened(str(name), 40)) for name in table.columns]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        raise DataError(
            f"{path}: has {missing}; its columns are {', '.join(names[:MOST_NAMED])}{more}: "
            f"name one as source.{kind}_column"
        )
    refuse_several(path, table, column)
    return column


def refuse_several(path: Path, table: pd.DataFrame, column: str) -> None:
    """Refuse a table with more than one column of this name.

    Raises:
        DataError: it has several.
    """
    if list(table.columns).count(column) > 1:
        raise DataError(f"{path}: has several columns {column!r}; keep one")


def first_column(table: pd.DataFrame, usual: tuple[str, ...]) -> str | None:
    """Return the column that has the first of these usual names, None if none has one."""
    by_letters = {letters(column): column for column in reversed(table.columns)}
    return next((by_letters[name] for name in usual if name in by_letters), None)


def letters(column: object) -> str:
    """Return the letters of a column's name in lower case, and nothing else of it.

    >>> letters("Adj. Close*"), letters("Schlußkurs")
    ('adjclose', 'schlusskurs')
    """
    return re.sub(r"[\W\d_]", "", str(column).lower().replace("ß", "ss"))


def shortened(text: str, most: int) -> str:
    """Return at most the first `most` characters, and a sign that there are more.

    >>> shortened("a long text", 6)
    'a long …'
    """
    return text if len(text) <= most else f"{text[:most]} …"

"""The columns of a table, by the names that they usually have."""

import re
from collections.abc import Iterable
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
LONGEST_NAME = 40  # characters of each


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
        raise DataError(
            f"{path}: has {missing}; {_columns_of(table)}: name one as source.{kind}_column"
        )
    refuse_several(path, table, column)
    return column


def _columns_of(table: pd.DataFrame) -> str:
    """Return in words which columns a table has: all of them if it is one of prices.

    Of any other table only usual names are shown: it may be a file of any kind.
    """
    of_prices = [name for name in table.columns if letters(name) in PRICE_NAMES]
    dates = [name for name in table.columns if letters(name) in DATE_NAMES]
    if dates and of_prices:
        return f"its columns are {listed_names(table.columns)}"
    known = [name for name in table.columns if name in (*dates, *of_prices)]
    count = len(table.columns)
    return f"of its {count} columns {listed_names(known) if known else 'none'} has a usual name"


def listed_names(names: Iterable[object]) -> str:
    """Return the first of the names, shortened and in quotes.

    >>> listed_names(["Date", "Close"])
    "'Date', 'Close'"
    """
    quoted = [repr(shortened(str(name), LONGEST_NAME)) for name in names]
    more = f" and {len(quoted) - MOST_NAMED} more" if len(quoted) > MOST_NAMED else ""
    return f"{', '.join(quoted[:MOST_NAMED])}{more}"


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


def mostly(readable: "pd.Series[bool]") -> bool:
    """Return True if at least half of a column (L,) is what the column's name says.

    Only then may an error quote a value of it: the file may hold anything.
    """
    return bool(readable.mean() >= 0.5)


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

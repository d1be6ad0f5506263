"""The numbers of a table as written, and the mark of their decimals."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from rnn_core.data.columns import letters, mostly, shortened
from rnn_core.data.prices import listed
from rnn_core.errors import DataError

REMEDY = "write numbers such as 73668.25"

# A number whose comma parts thousands and whose point parts decimals, and the other way round
POINT_DECIMALS = r"[+-]?(?=[.]?\d)(?:[1-9]\d?\d?(?:[,]\d{3})+|\d*)(?:[.]\d*)?(?:[eE][+-]?\d+)?"
COMMA_DECIMALS = POINT_DECIMALS.translate(str.maketrans(",.", ".,"))
ENGLISH_NUMBERS = "a comma parts thousands and a point decimals"  # what a table's attrs may say
HANGUL = re.compile("[가-힣]")
EUROPEAN_NAMES = {  # of columns, where a comma is usual for decimals
    *("datum", "schluss", "schlusskurs", "kurs", "hoch", "tief", "volumen"),
    *("data", "fecha", "cierre", "cours", "chiusura", "prezzo", "koers", "slotkoers"),
}


def parsed_prices(
    path: Path, column: "pd.Series[Any]", rows: pd.Index
) -> tuple["pd.Series[float]", list[str]]:
    """Return the prices, NaN where there is none, and what is wrong with them."""
    prices = numbers_of(path, column)
    no_number = (prices.isna() & column.notna()).to_numpy()
    if not no_number.any():
        return prices, []
    quoted = mostly(prices.notna())
    example = shortened(repr(column[no_number].iloc[0]), 40) if quoted else "text"
    where = listed(rows, no_number)
    return prices, [f"column {column.name!r} has {example}, not a number, in {where}"]


def numbers_of(path: Path, column: "pd.Series[Any]") -> "pd.Series[float]":
    """Return the numbers of a column, NaN where there is none.

    Raises:
        DataError: the column does not tell the mark of decimals without a doubt.
    """
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(float)
    text = column.astype(str).str.strip().where(column.notna())
    is_marked = text.str.contains("[,.]", na=False)
    decimals = _decimal_mark(path, column, text[is_marked])
    numeral, thousands = (COMMA_DECIMALS, ".") if decimals == "," else (POINT_DECIMALS, ",")
    readable = text.where(~is_marked | text.str.fullmatch(numeral, na=False))
    plain = readable.str.replace(thousands, "", regex=False).str.replace(decimals, ".", regex=False)
    return pd.to_numeric(plain, errors="coerce").astype(float)


def _decimal_mark(path: Path, column: "pd.Series[Any]", marked: "pd.Series[str]") -> str:
    """Return the mark of decimals that fits every number of a column with marks.

    Where a number fits both marks, as 1.234 does, another number or the header decides; they may
    not contradict each other. Another number with decimals does not decide that 1.234 has none:
    the two may be written in different ways.

    Raises:
        DataError: no mark fits every number, or two do.
    """
    fits_point = marked.str.fullmatch(POINT_DECIMALS)
    fits_comma = marked.str.fullmatch(COMMA_DECIMALS)
    with_point = marked[fits_point & ~fits_comma]
    with_comma = marked[fits_comma & ~fits_point]
    undecided = marked[fits_point & fits_comma]
    if len(with_point) and len(with_comma):
        raise DataError(
            f"{path}: column {column.name!r} has {with_point.iloc[0]!r} and "
            f"{with_comma.iloc[0]!r}, which part decimals by different marks; {REMEDY}"
        )
    if len(with_comma):
        decided = with_comma
        mark = ","
    else:
        decided = with_point
        mark = "."
    is_english = column.attrs.get(ENGLISH_NUMBERS, False)
    if is_english and mark == ".":
        return mark
    fractions = decided[decided.str.contains(mark, regex=False)]
    whole = undecided[~undecided.str.contains(mark, regex=False)]
    if decided.empty or is_english:
        _refuse_doubtful(path, column, undecided, decided)
    elif len(fractions):
        _refuse_doubtful(path, column, whole, fractions)
    return mark


def _refuse_doubtful(
    path: Path, column: "pd.Series[Any]", doubtful: "pd.Series[str]", others: "pd.Series[str]"
) -> None:
    if doubtful.empty:
        return
    value = doubtful.iloc[0]
    mark = "comma" if "," in value else "point"
    beside = f" beside {others.iloc[0]!r}: its" if len(others) else ", whose"
    raise DataError(
        f"{path}: column {column.name!r} has {value!r}{beside} {mark} may part thousands or "
        f"decimals; {REMEDY}, and separate fields by commas under English names"
    )


def writes_english(header: str, separator: str) -> bool:
    """Return whether the header's language and separator go with a comma for thousands."""
    names = [letters(name) for name in header.split(separator)]
    if any(name in EUROPEAN_NAMES for name in names):
        return False
    if HANGUL.search(header):
        return separator != ";"
    return separator == "," and "".join(names).isascii()

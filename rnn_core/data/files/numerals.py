"""The numbers of a table as written, and the mark of their decimals."""

import re
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from rnn_core.data.files.columns import letters, shortened
from rnn_core.data.prices import listed
from rnn_core.errors import DataError

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
    example = shortened(repr(column[no_number].iloc[0]), 40)
    where = listed(rows, no_number)
    return prices, [f"column {column.name!r} has {example}, not a number, in {where}"]


def numbers_of(path: Path, column: "pd.Series[Any]") -> "pd.Series[float]":
    """Return the numbers of a column, NaN where there is none.

    The mark of decimals is the one that fits every number of the column; where both marks do, the
    file's header and separator decide.

    Raises:
        DataError: no mark fits every number, or both do and nothing decides.
    """
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(float)
    text = column.astype(str).str.strip().where(column.notna())
    marked = text[text.str.contains("[,.]", na=False)]
    with_point = marked.str.fullmatch(POINT_DECIMALS)
    with_comma = marked.str.fullmatch(COMMA_DECIMALS)
    only_point = marked[with_point & ~with_comma]
    only_comma = marked[with_comma & ~with_point]
    undecided = marked[with_point & with_comma]
    if len(only_point) and len(only_comma):
        raise DataError(
            f"{path}: column {column.name!r} has {only_point.iloc[0]!r} and "
            f"{only_comma.iloc[0]!r}, which part decimals by different marks; write numbers such "
            "as 73668.25"
        )
    is_decided = len(only_point) or len(only_comma) or column.attrs.get(ENGLISH_NUMBERS, False)
    if len(undecided) and not is_decided:
        _refuse_ambiguous(path, column, undecided.iloc[0])
    is_number = with_comma if len(only_comma) else with_point
    readable = text.drop(marked.index[~is_number])
    thousands, decimals = (".", ",") if len(only_comma) else (",", ".")
    plain = readable.str.replace(thousands, "", regex=False).str.replace(decimals, ".", regex=False)
    return pd.to_numeric(plain, errors="coerce").astype(float).reindex(text.index)


def _refuse_ambiguous(path: Path, column: "pd.Series[Any]", value: str) -> NoReturn:
    mark = "comma" if "," in value else "point"
    raise DataError(
        f"{path}: column {column.name!r} has {value!r}, whose {mark} may part thousands or "
        "decimals; write numbers such as 73668.25, and separate fields by commas under English "
        "names"
    )


def writes_english(header: str, separator: str) -> bool:
    """Return whether the header's language and separator go with a comma for thousands."""
    names = [letters(name) for name in header.split(separator)]
    if any(name in EUROPEAN_NAMES for name in names):
        return False
    if HANGUL.search(header):
        return separator != ";"
    return separator == "," and "".join(names).isascii()

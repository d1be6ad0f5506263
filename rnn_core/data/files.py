"""Read daily prices from a CSV or Parquet file, as people have them.

What cannot be read without a doubt is refused: never a wrong number or a wrong day.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rnn_core.config import File
from rnn_core.data.exchanges import time_zone
from rnn_core.data.prices import Prices, adjusted, bad_rows, checked, listed
from rnn_core.data.time_stamps import STAMP, session_dates, without_offsets
from rnn_core.errors import DataError

TICKER = "{ticker}"  # in source.path, stands for the ticker

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

FARTHEST_OPEN = 0.1  # mean |log(open / close)| of opens that belong to a close
FARTHEST_IN_MOVES = 3

ENCODINGS = ("utf-8-sig", "cp949", "cp1252")
SEPARATORS = (",", ";", "\t", "|")
LONGEST_HEADER = 10_000  # characters
MOST_NAMED = 12  # columns that an error names
PAIR = re.compile(r"\('([^']+)', '([^']*)'\)")  # a price's name and a ticker, in a Parquet file
INDEX_NAME = "__index_level_0__"  # of an index without a name, in a Parquet file

DAY_OR_MONTH_FIRST = ("%m/%d/%Y", "%d/%m/%Y")
DATE_FORMATS = (
    *("ISO8601", *DAY_OR_MONTH_FIRST, "%d.%m.%Y", "%Y.%m.%d", "%Y/%m/%d"),
    *("%Y년 %m월 %d일", "%b %d, %Y", "%d %b %Y", "%d-%b-%Y"),
)

# A number whose comma parts thousands and whose point parts decimals, and the other way round
POINT_DECIMALS = r"[+-]?(?=[.]?\d)(?:[1-9]\d?\d?(?:[,]\d{3})+|\d*)(?:[.]\d*)?(?:[eE][+-]?\d+)?"
COMMA_DECIMALS = POINT_DECIMALS.translate(str.maketrans(",.", ".,"))
ENGLISH_NUMBERS = "a comma parts thousands and a point decimals"  # what a table's attrs may say
HANGUL = re.compile("[가-힣]")
EUROPEAN_NAMES = {  # of columns, where a comma is usual for decimals
    *("datum", "schluss", "schlusskurs", "kurs", "hoch", "tief", "volumen"),
    *("data", "fecha", "cierre", "cours", "chiusura", "prezzo", "koers", "slotkoers"),
}


def read_file(source: File, ticker: str, exchange: str, now: datetime) -> Prices:
    """Return the prices of a CSV or Parquet file, up to the last session closed by `now`.

    An adjusted close is preferred to a raw one; opens are adjusted by the ratio of the two.

    Raises:
        DataError: the file cannot be read, lacks a column, or its prices are unfit to train on.
    """
    path = file_of(source, ticker)
    table = _read_table(path, ticker)
    rows = pd.Index(table.index, name="lines" if _is_text(path) else "rows")
    dates = _find(path, table, source.date_column, DATE_NAMES, "date")
    column = _find(path, table, source.price_column, ADJUSTED_NAMES + RAW_NAMES, "price")
    index, date_faults = _parsed_dates(path, table[dates], rows, time_zone(exchange))
    closes, price_faults = _parsed_prices(path, table[column], rows)
    frame, warnings = _with_open_and_volume(path, table, column, closes.set_axis(index))
    prices = Prices(
        ticker,
        adjusted(frame),
        source="file",
        column=column,
        exchange=exchange,
        warnings=warnings,
        own_sessions=source.sessions == "data",
    )
    known = closes.notna().to_numpy() | table[column].isna().to_numpy()
    faults = [*date_faults, *price_faults, *bad_rows(prices, rows, known & index.notna())]
    if faults:
        raise DataError(f"{path}: {'; '.join(faults)}; correct the file")
    return checked(prices, str(path), rows, now)


def file_of(source: File, ticker: str) -> Path:
    """Return the path of the ticker's file."""
    return Path(str(source.path).replace(TICKER, ticker))


def _with_open_and_volume(
    path: Path, table: pd.DataFrame, column: str, closes: "pd.Series[float]"
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return `adj_close` and, where the table has them, `open` with the raw `close`, `volume`.

    The opens are adjusted by the ratio of the chosen column to the close that they belong to; where
    no close is near them they are left out with a warning, which is returned too.
    """
    frame = pd.DataFrame({"adj_close": closes})
    warnings = []
    opening = _first_of(table, OPEN_NAMES)
    if opening is not None:
        opens = _numbers_of(path, table, opening, closes.index)
        raw = [_first_of(table, (name,)) for name in UNADJUSTED_NAMES + RAW_NAMES]
        others = [column, *(_first_of(table, (name,)) for name in ADJUSTED_NAMES)]
        candidates = [
            closes if name == column else _numbers_of(path, table, name, closes.index)
            for name in dict.fromkeys([*raw, *others])
            if name is not None
        ]
        close = _close_of(opens, candidates)
        if not any(raw):
            reason = f"{column!r} may be adjusted, and no raw close tells by how much"
            warnings.append(f"{path}: column {opening!r} is left out: {reason}")
        elif close is None:
            reason = "it is near none of the closes, one of which may be adjusted"
            warnings.append(f"{path}: column {opening!r} is left out: {reason}")
        else:
            frame["open"] = opens
            frame["close"] = close
    volume = _first_of(table, VOLUME_NAMES)
    if volume is not None:
        frame["volume"] = _numbers_of(path, table, volume, closes.index)
    return frame, tuple(warnings)


def _numbers_of(path: Path, table: pd.DataFrame, name: str, index: pd.Index) -> "pd.Series[float]":
    _refuse_several(path, table, name)
    return _numbers(path, table[name]).set_axis(index)


def _close_of(
    opens: "pd.Series[float]", candidates: Sequence["pd.Series[float]"]
) -> "pd.Series[float] | None":
    """Return the close of the same scale as the opens, None if no candidate is near them.

    That is the first candidate, except where another is less than half as far. Near is a mean
    distance below `FARTHEST_OPEN` and below `FARTHEST_IN_MOVES` mean daily moves of the close.
    """
    log_opens = _logs(opens)
    log_closes = [_logs(close) for close in candidates]
    distances = [(log_opens - logs).abs().mean() for logs in log_closes]
    nearest = int(np.argmin(np.nan_to_num(distances, nan=np.inf)))
    place = 0 if distances[0] <= 2 * distances[nearest] else nearest
    daily_move = log_closes[place].sort_index().diff().abs().mean()
    is_near = distances[place] < min(FARTHEST_OPEN, FARTHEST_IN_MOVES * daily_move)
    return candidates[place] if is_near else None


def _logs(prices: "pd.Series[float]") -> "pd.Series[float]":
    positive = prices.where((prices > 0) & np.isfinite(prices)).to_numpy()
    return pd.Series(np.log(positive), prices.index)


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) != b"PAR1"


def _read_table(path: Path, ticker: str) -> pd.DataFrame:
    """Read a file, a CSV as text; the index counts a CSV's lines, the header being 1, or rows."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a file")
    if not path.is_file():
        hint = f"; only {TICKER} stands for the ticker" if "{" in str(path) else ""
        raise DataError(f"{path}: no such file{hint}")
    try:
        table = _read_csv(path, ticker) if _is_text(path) else _read_parquet(path, ticker)
    except (pa.ArrowException, OSError, ValueError, csv.Error) as error:
        reason = _short(" ".join(str(error).split()), 200)
        raise DataError(f"{path}: cannot be read as CSV or Parquet: {reason}") from error
    table = table.dropna(how="all")
    if table.empty:
        raise DataError(f"{path}: has no rows")
    return table


# A CSV file: its text, its separator, its header lines, its rows


def _read_csv(path: Path, ticker: str) -> pd.DataFrame:
    lines = _text(path.read_bytes()).splitlines()
    first = 0
    separator = None
    if lines and lines[0].strip().strip('"').lower().startswith("sep="):
        separator = lines[0].strip().strip('"')[4:5]
        first = 1
    if len(lines) <= first or not lines[first].strip():
        raise ValueError("there is no header")
    if len(lines[first]) > LONGEST_HEADER:
        raise ValueError(f"the header is {len(lines[first]):,} characters long")
    separator = separator or _separator(lines[first])
    fields = list(csv.reader(StringIO("\n".join(lines[first:])), delimiter=separator))
    depth, columns = _header(fields, ticker)
    body = fields[depth:]
    _refuse_longer_rows(body, len(columns), first + depth + 1)
    padded = [_cells(row, len(columns)) for row in body]
    index = pd.RangeIndex(first + depth + 1, first + depth + 1 + len(body))
    table = pd.DataFrame(padded, index=index, columns=range(len(columns)), dtype=object)
    kept = [place for place, name in enumerate(columns) if name is not None]
    table = table[kept].set_axis([str(columns[place]) for place in kept], axis=1)
    table.attrs[ENGLISH_NUMBERS] = _writes_english(lines[first], separator)
    return table


def _writes_english(header: str, separator: str) -> bool:
    """Return whether the header's language and separator go with a comma for thousands."""
    names = [_letters(name) for name in header.split(separator)]
    if any(name in EUROPEAN_NAMES for name in names):
        return False
    if HANGUL.search(header):
        return separator != ";"
    return separator == "," and "".join(names).isascii()


def _cells(row: Sequence[str], width: int) -> list[str | None]:
    """Return the fields of a row, None where a field is empty or the row too short."""
    filled = [field.strip() or None for field in row[:width]]
    return filled + [None] * (width - len(filled))


def _text(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ValueError("it is neither UTF-8, UTF-16 nor CP949 text")


def _separator(header: str) -> str:
    """Return the separator that makes most fields of the header, a comma if none is there."""
    return max(
        SEPARATORS, key=lambda separator: len(next(csv.reader([header], delimiter=separator)))
    )


def _header(fields: Sequence[list[str]], ticker: str) -> tuple[int, list[str | None]]:
    """Return how many lines the header has and the columns' names, None for another ticker's.

    A table of `yfinance.download` has three lines: the prices' names, their tickers, and `Date`.
    """
    names = [field.strip() for field in fields[0]]
    below = [field.strip() for field in fields[1]] if len(fields) > 2 else [""]
    if {names[0], *below[:1]} != {"Price", "Ticker"}:
        return 1, list(names)
    chosen = _of_ticker(zip(names[1:], below[1:], strict=False), ticker)
    return 3, [fields[2][0].strip(), *chosen]


def _of_ticker(columns: Iterable[tuple[str, str]], ticker: str) -> list[str | None]:
    """Return the names of the columns of one ticker, None for those of others.

    `columns` are pairs of a price's name and a ticker, in either order.

    Raises:
        ValueError: there are several tickers, and none is the one asked for.
    """
    pairs = list(columns)
    if not any(_letters(name) in PRICE_NAMES for name, _ in pairs):
        pairs = [(name, symbol) for symbol, name in pairs]
    tickers = {symbol for _, symbol in pairs}
    if len(tickers) > 1 and ticker not in tickers:
        known = _short(", ".join(sorted(tickers)), 80)
        raise ValueError(f"its tickers are {known}; set ticker to one of them")
    return [name if len(tickers) == 1 or symbol == ticker else None for name, symbol in pairs]


def _refuse_longer_rows(body: Sequence[list[str]], width: int, first_line: int) -> None:
    longer = [line for line, row in enumerate(body, first_line) if any(row[width:])]
    if longer:
        raise ValueError(
            f"line {longer[0]} has more fields than the header; a decimal comma needs another "
            "separator than the comma"
        )


def _read_parquet(path: Path, ticker: str) -> pd.DataFrame:
    """Read the columns, an index among them, whatever the file's pandas metadata say."""
    stored = pq.ParquetFile(path).read().replace_schema_metadata(None)
    try:
        table = stored.to_pandas()
    except KeyError as error:  # of a time zone, in pytz and in zoneinfo
        raise ValueError(f"it has the unknown time zone {error.args[0]!r}") from error
    names = [str(name) for name in table.columns]
    pairs = [PAIR.fullmatch(name) for name in names]
    if any(pairs):
        chosen = iter(_of_ticker([(pair[1], pair[2]) for pair in pairs if pair], ticker))
        names = [
            name if pair is None else next(chosen) or ""
            for name, pair in zip(names, pairs, strict=True)
        ]
    names = ["date" if name == INDEX_NAME else name for name in names]
    table = table.set_axis(names, axis=1)
    numbered: pd.DataFrame = table.drop(columns="", errors="ignore")
    numbered.index = pd.RangeIndex(1, len(table) + 1)
    return numbered


# Its columns


def _find(
    path: Path, table: pd.DataFrame, named: str | None, usual: tuple[str, ...], kind: str
) -> str:
    """Return the column that the option names, else the first by a usual name."""
    column = _first_of(table, usual) if named is None else named
    if column is None or column not in table:
        missing = f"no {kind} column by a usual name" if named is None else f"no column {named!r}"
        names = [repr(_short(str(name), 40)) for name in table.columns]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        raise DataError(
            f"{path}: has {missing}; its columns are {', '.join(names[:MOST_NAMED])}{more}: "
            f"name one as source.{kind}_column"
        )
    _refuse_several(path, table, column)
    return column


def _refuse_several(path: Path, table: pd.DataFrame, column: str) -> None:
    if list(table.columns).count(column) > 1:
        raise DataError(f"{path}: has several columns {column!r}; keep one")


def _first_of(table: pd.DataFrame, usual: tuple[str, ...]) -> str | None:
    by_letters = {_letters(column): column for column in reversed(table.columns)}
    return next((by_letters[name] for name in usual if name in by_letters), None)


def _letters(column: object) -> str:
    return re.sub(r"[\W\d_]", "", str(column).lower().replace("ß", "ss"))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} …"


# Its dates


def _parsed_dates(
    path: Path, column: "pd.Series[Any]", rows: pd.Index, zone: str
) -> tuple[pd.DatetimeIndex, list[str]]:
    """Return the sessions as naive midnights, and what is wrong with the dates.

    `session_dates` says which session a time stamp means.
    """
    is_parsed = pd.api.types.is_datetime64_any_dtype(column)
    dates = column if is_parsed else _dates_of_text(path, column)
    unknown = (dates.isna() | ~_believable(dates)).to_numpy()
    dates = dates.mask(unknown)
    faults = []
    if unknown.any():
        value = column[unknown].iloc[0]
        example = "nothing" if pd.isna(value) else _short(repr(value), 40)
        faults.append(
            f"column {column.name!r} has {example}, not a date, in {listed(rows, unknown)}, where "
            "YYYY-MM-DD is expected"
        )
    index = pd.DatetimeIndex(dates, name="date")
    if index.tz is None:
        return index.normalize(), faults
    as_written = index.tz_localize(None) if is_parsed else without_offsets(column)
    return session_dates(index, as_written, zone).rename("date"), faults


def _believable(dates: "pd.Series[Any]") -> "pd.Series[bool]":
    """Return which dates lie between 1800 and 2200, where everything can be computed with them."""
    years = dates.dt.year
    believable: pd.Series[bool] = (years >= 1800) & (years < 2200)
    return believable


def _dates_of_text(path: Path, column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Parse text in the format that fits most rows, NaT where it does not fit.

    Numbers such as 20130131 are dates. Whether 1/2/2013 starts with the day or the month follows
    from the other rows.
    """
    text = column.astype(str).str.strip()
    has_offset = bool(text.str.contains(STAMP).any())
    readings = {
        form: pd.to_datetime(text, format=form, errors="coerce", utc=has_offset)
        for form in DATE_FORMATS
    }
    if all(readings[form].notna().all() for form in DAY_OR_MONTH_FIRST):
        raise DataError(
            f"{path}: column {column.name!r} may put day or month first; write dates as YYYY-MM-DD"
        )
    return max(readings.values(), key=lambda reading: reading.notna().sum())


# Its numbers


def _parsed_prices(
    path: Path, column: "pd.Series[Any]", rows: pd.Index
) -> tuple["pd.Series[float]", list[str]]:
    """Return the prices, NaN where there is none, and what is wrong with them."""
    prices = _numbers(path, column)
    no_number = (prices.isna() & column.notna()).to_numpy()
    if not no_number.any():
        return prices, []
    example = _short(repr(column[no_number].iloc[0]), 40)
    where = listed(rows, no_number)
    return prices, [f"column {column.name!r} has {example}, not a number, in {where}"]


def _numbers(path: Path, column: "pd.Series[Any]") -> "pd.Series[float]":
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

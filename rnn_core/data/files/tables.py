"""The table of a CSV or Parquet file: its encoding, separator, header lines and rows."""

import csv
import re
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rnn_core.data.columns import PRICE_NAMES, letters, shortened
from rnn_core.data.files.numerals import ENGLISH_NUMBERS, writes_english
from rnn_core.errors import DataError

TICKER = "{ticker}"  # in source.path, stands for the ticker
ENCODINGS = ("utf-8-sig", "cp949", "cp1252")
SEPARATORS = (",", ";", "\t", "|")
LONGEST_HEADER = 10_000  # characters
PAIR = re.compile(r"\('([^']+)', '([^']*)'\)")  # a price's name and a ticker, in a Parquet file
INDEX_NAME = "__index_level_0__"  # of an index without a name, in a Parquet file


def is_text(path: Path) -> bool:
    """Return True unless the file begins as Parquet does."""
    with path.open("rb") as file:
        return file.read(4) != b"PAR1"


def read_table(path: Path, ticker: str) -> pd.DataFrame:
    """Read a file, a CSV as text; the index counts a CSV's lines, the header being 1, or rows."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a file")
    if not path.is_file():
        hint = f"; only {TICKER} stands for the ticker" if "{" in str(path) else ""
        raise DataError(f"{path}: no such file{hint}")
    try:
        table = _read_csv(path, ticker) if is_text(path) else _read_parquet(path, ticker)
    except pa.ArrowException:  # its text may quote the file
        raise _unreadable(path, "it is damaged") from None
    except OSError as error:  # Arrow raises some without a number
        raise _unreadable(path, error.strerror or "it is damaged") from None
    except (ValueError, csv.Error) as error:
        raise _unreadable(path, shortened(" ".join(str(error).split()), 200)) from error
    table = table.dropna(how="all")
    if table.empty:
        raise DataError(f"{path}: has no rows")
    return table


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: cannot be read as CSV or Parquet: {reason}")


# A CSV file: its text, its separator, its header lines, its rows


def _read_csv(path: Path, ticker: str) -> pd.DataFrame:
    lines = _text(path.read_bytes()).splitlines()
    given_separator = _separator_line(lines)
    first = 0 if given_separator is None else 1
    _refuse_header(lines[first:])
    separator = given_separator or _separator(lines[first])
    fields = list(csv.reader(StringIO("\n".join(lines[first:])), delimiter=separator))
    depth, names = _header(fields, ticker)
    table = _of_rows(fields[depth:], len(names), first + depth + 1)
    kept = [place for place, name in enumerate(names) if name is not None]
    table = table[kept].set_axis([str(names[place]) for place in kept], axis=1)
    table.attrs[ENGLISH_NUMBERS] = writes_english(lines[first], separator)
    return table


def _separator_line(lines: Sequence[str]) -> str | None:
    """Return the separator of a line such as `sep=;`, empty if it gives none; None without one."""
    first_line = lines[0].strip().strip('"') if lines else ""
    return first_line[4:5] if first_line.lower().startswith("sep=") else None


def _refuse_header(lines: Sequence[str]) -> None:
    if not lines or not lines[0].strip():
        raise ValueError("there is no header")
    if len(lines[0]) > LONGEST_HEADER:
        raise ValueError(f"the header is {len(lines[0]):,} characters long")


def _of_rows(rows: Sequence[list[str]], width: int, first_line: int) -> pd.DataFrame:
    """Return the rows as a table with numbered columns; its index counts lines of the file."""
    _refuse_longer_rows(rows, width, first_line)
    padded = [_cells(row, width) for row in rows]
    index = pd.RangeIndex(first_line, first_line + len(rows))
    return pd.DataFrame(padded, index=index, columns=range(width), dtype=object)


def _cells(row: Sequence[str], width: int) -> list[str | None]:
    """Return the fields of a row, None where a field is empty or the row too short."""
    filled = [field.strip() or None for field in row[:width]]
    return filled + [None] * (width - len(filled))


def _text(content: bytes) -> str:
    is_utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ("utf-16",) if is_utf16 else ENCODINGS:
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
    if not any(letters(name) in PRICE_NAMES for name, _ in pairs):
        pairs = [(name, symbol) for symbol, name in pairs]
    if not any(letters(name) in PRICE_NAMES for name, _ in pairs):
        raise ValueError("none of its columns is one of prices")
    tickers = {symbol for _, symbol in pairs}
    if len(tickers) > 1 and ticker not in tickers:
        known = shortened(", ".join(sorted(tickers)), 80)
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
    except KeyError:  # of a time zone, in pytz and in zoneinfo
        raise ValueError("a column has an unknown time zone") from None
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

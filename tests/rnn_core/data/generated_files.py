"""Price files as people have them, made at random, and the prices that they hold."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from rnn_core.data.exchanges import sessions

SESSIONS = sessions("XNYS", date(2011, 1, 3), date(2012, 12, 31))
DATE_FORMATS = (
    *("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%d.%m.%Y", "%Y.%m.%d", "%b %d, %Y", "%d %b %Y"),
    *("%Y-%m-%dT00:00:00+00:00", "%Y-%m-%d 00:00:00-05:00", "%Y년 %m월 %d일"),
)
HEADERS = (
    ("Date", "Open", "Close", "Volume"),
    ("date", "open", "adj close", "volume"),
    ("일자", "시가", "종가", "거래량"),
    ("날짜", "시가", "수정종가", "거래량"),
    ("Datum", "Eröffnung", "Schluss", "Volumen"),
)
ENCODINGS = ("utf-8", "utf-8-sig", "cp949", "utf-16", "cp1252")
JUNK = (
    "",
    "abc",
    "nan",
    "-",
    "1e999",
    "-5",
    "0",
    "0x10",
    "9999-99-99",
    '"',
    "1,2,3",
    "٣",
    "inf",
    "\0",
    "=A1",
)


@dataclass(frozen=True)
class GeneratedFile:
    """The bytes of a file, what it holds, and whether something in it is broken on purpose.

    `mixed` files part the decimals of one row by another mark.
    """

    content: bytes
    closes: "pd.Series[float]"
    broken: bool
    mixed: bool
    form: str


def generated(seed: int) -> GeneratedFile:
    rng = np.random.default_rng(seed)
    closes = _closes(rng)
    header = HEADERS[rng.integers(len(HEADERS))]
    separator = str(rng.choice([",", ";", "\t", "|"]))
    style = _style(header, separator, rng)
    date_format = str(rng.choice(DATE_FORMATS))
    quoted = rng.random() < 0.3 or separator == ","
    closes, prices = _priced(closes, style, rng)

    def day(moment: pd.Timestamp) -> str:
        text = moment.strftime(date_format)
        return f'"{text}"' if separator in text or quoted else text

    lines = [separator.join(header)]
    for moment, price in zip(closes.index, prices, strict=True):
        if "," in price and (quoted or separator == ","):
            price = f'"{price}"'
        fields = [day(moment), price, price, str(int(rng.integers(1, 10**6)))]
        lines.append(separator.join(fields))
    if rng.random() < 0.1:
        lines.insert(0, f"sep={separator}")
    broken = bool(rng.random() < 0.4)
    if broken:
        lines = _broken(lines, separator, rng)
    text = str(rng.choice(["\n", "\r\n"])).join(lines) + "\n"
    encoding = _encoding(text, rng)
    content = text.encode(encoding)
    if broken and rng.random() < 0.2:
        content = content[: int(rng.integers(len(content)))]
    form = f"{header} {separator!r} {style} {date_format} {encoding} broken={broken}"
    return GeneratedFile(content, closes, broken, style == "mixed", form)


def _closes(rng: np.random.Generator) -> "pd.Series[float]":
    count = int(rng.integers(2, 40))
    first = int(rng.integers(len(SESSIONS) - count))
    level = float(rng.choice([0.7, 12.0, 80.0, 900.0, 73_668.0, 2_400_000.0]))
    walk = level * np.exp(np.cumsum(0.02 * rng.standard_normal(count)))
    return pd.Series(walk, SESSIONS[first : first + count])


def _style(header: tuple[str, ...], separator: str, rng: np.random.Generator) -> str:
    styles = ["plain", "plain", "thousands", "thousands", "mixed"]
    if separator != "," and header[0] not in ("일자", "날짜"):
        styles += ["decimal comma", "decimal comma"]
    return str(rng.choice(styles))


def _priced(
    closes: "pd.Series[float]", style: str, rng: np.random.Generator
) -> tuple["pd.Series[float]", list[str]]:
    """Return the closes as rounded for the file, and as written in it."""
    digits = int(rng.choice([0, 2, 3, 4]))
    if closes.min() < 10:  # else a price may round to zero
        digits = max(digits, 2)
    shortest = bool(rng.random() < 0.2)  # without zeros at the end
    if style != "mixed":
        rounded = closes.round(digits)
        return rounded, [_numeral(close, style, digits, shortest) for close in rounded]
    rounded = closes.round(3)
    odd = int(rng.integers(len(closes)))
    rounded.iloc[odd] = round(rounded.iloc[odd], 2)
    prices = [f"{close:.3f}" for close in rounded]
    prices[odd] = _numeral(rounded.iloc[odd], "decimal comma", 2, shortest=False)
    return rounded, prices


def _numeral(value: float, style: str, digits: int, shortest: bool) -> str:
    grouping = "," if style in ("thousands", "decimal comma") else ""
    text = f"{value:{grouping}.{digits}f}"
    if shortest and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.translate(str.maketrans(",.", ".,")) if style == "decimal comma" else text


def _broken(lines: list[str], separator: str, rng: np.random.Generator) -> list[str]:
    """Return the lines with one to three faults."""
    lines = list(lines)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(lines)))
        fields = lines[place].split(separator)
        match int(rng.integers(6)):
            case 0:
                fields[int(rng.integers(len(fields)))] = str(rng.choice(JUNK))
                lines[place] = separator.join(fields)
            case 1:
                lines.insert(place, lines[place])
            case 2 if len(lines) > 1:
                del lines[place]
            case 3:
                lines[place] = separator.join(fields[:-1])
            case 4:
                lines[place] += separator + str(rng.choice(JUNK))
            case _:
                lines[place] = str(rng.choice(JUNK))
    return lines


def _encoding(text: str, rng: np.random.Generator) -> str:
    """Return one of the encodings that can write the text."""
    for encoding in rng.permutation(ENCODINGS):
        try:
            text.encode(str(encoding))
        except UnicodeEncodeError:
            continue
        return str(encoding)
    return "utf-8"

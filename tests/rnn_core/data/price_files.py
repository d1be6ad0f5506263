"""What the tests of price files share: Apple's prices, and how to write and read a file."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from rnn_core.config import File
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices

NOW = datetime(2013, 3, 2, tzinfo=UTC)
AAPL = Path(__file__).parents[2] / "data" / "AAPL.csv"
TABLE = pd.read_csv(AAPL, index_col="Date", parse_dates=True)
CLOSES = TABLE["Adj Close"].rename("Close")


def read(path: Path, **options: str) -> Prices:
    return load(File.model_validate({"path": path, **options}), "AAPL", NOW)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def dated(closes: list[str]) -> pd.DataFrame:
    days = [f"2013-01-{day:02}" for day in (2, 3, 4)]
    return pd.DataFrame({"Date": days[: len(closes)], "Close": closes})

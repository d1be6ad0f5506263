from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnn_core.config import File
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices
from rnn_core.errors import DataError

AAPL = Path(__file__).parents[2] / "data" / "AAPL.csv"
NOW = datetime(2026, 11, 20, 22, tzinfo=UTC)


@pytest.fixture
def csv(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "prices.csv"
        path.write_text(text)
        return path

    return write


def from_file(path: Path, now: datetime = NOW, **options: str) -> Prices:
    return load(File.model_validate({"path": path, **options}), "MSFT", now)


def refusal(path: Path, **options: str) -> str:
    with pytest.raises(DataError) as error:
        from_file(path, NOW, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_gives_its_adjusted_close_with_the_open_adjusted_alike() -> None:
    prices = from_file(AAPL)
    raw = pd.read_csv(AAPL)
    assert (prices.source, prices.column, prices.exchange, prices.warnings) == (
        "file",
        "Adj Close",
        "XNYS",
        (),
    )
    assert list(prices.frame.columns) == ["close", "open", "volume"]
    assert prices.frame["close"].tolist() == raw["Adj Close"].tolist()
    np.testing.assert_allclose(
        prices.frame["open"] / prices.frame["close"], raw["Open"] / raw["Close"]
    )
    assert prices.frame.index[0] == pd.Timestamp("2000-03-01")
    assert prices.frame.index.name == "date"


@pytest.mark.parametrize(
    ("adjusted", "raw"),
    [
        ("Total Return Close", "Close"),
        ("TR", "종가"),
        ("Adj. Close", "Last"),
        ("Price", "Close"),
        ("수정종가", "Unadjusted Close"),
    ],
)
def test_opens_are_adjusted_by_the_ratio_of_two_closes_of_any_name(
    tmp_path: Path, adjusted: str, raw: str
) -> None:
    table = pd.read_csv(AAPL)[["Date", "Open", "Close", "Adj Close", "Volume"]]
    renamed = table.rename(columns={"Close": raw, "Adj Close": adjusted})
    renamed.to_csv(tmp_path / "prices.csv", index=False)
    prices = from_file(tmp_path / "prices.csv", price_column=adjusted)
    assert prices.sha256 == from_file(AAPL).sha256
    assert prices.warnings == ()


@pytest.mark.parametrize("adjusted", ["Total Return Close", "Adj Close"])
def test_opens_that_nothing_tells_how_to_adjust_are_left_out(tmp_path: Path, adjusted: str) -> None:
    table = pd.read_csv(AAPL)[["Date", "Open", "Adj Close", "Volume"]]
    path = tmp_path / "prices.csv"
    table.rename(columns={"Adj Close": adjusted}).to_csv(path, index=False)
    prices = from_file(path, price_column=adjusted)
    assert list(prices.frame.columns) == ["close", "volume"]
    assert prices.warnings[0] == (
        f"{path}: column 'Open' is left out: {adjusted!r} may be adjusted, and no raw close tells "
        "by how much"
    )


def test_an_unadjusted_close_warns_of_its_splits_by_date() -> None:
    (warning,) = from_file(AAPL, price_column="Close").warnings
    assert "unadjusted split in sessions 2000-06-21, 2005-02-28;" in warning


def test_splits_are_seen_without_an_open_too(tmp_path: Path) -> None:
    pd.read_csv(AAPL)[["Date", "Close"]].to_csv(tmp_path / "close.csv", index=False)
    (warning,) = from_file(tmp_path / "close.csv").warnings
    assert "2000-06-21" in warning
    assert "2005-02-28" in warning


@pytest.mark.parametrize("index", [True, False])
def test_parquet_and_csv_of_the_same_prices_are_the_same_prices(
    tmp_path: Path, index: bool
) -> None:
    table = pd.read_csv(AAPL, parse_dates=["Date"])
    (table.set_index("Date") if index else table).to_parquet(tmp_path / "prices.parquet")
    assert from_file(tmp_path / "prices.parquet").sha256 == from_file(AAPL).sha256


def test_a_file_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    pd.read_csv(AAPL).to_parquet(tmp_path / "prices.csv")
    assert from_file(tmp_path / "prices.csv").sha256 == from_file(AAPL).sha256


def test_a_parquet_index_without_a_name_is_the_date(tmp_path: Path) -> None:
    pd.DataFrame({"price": [1.0, 2.0]}, pd.DatetimeIndex(["2013-01-02", "2013-01-03"])).to_parquet(
        tmp_path / "a"
    )
    assert from_file(tmp_path / "a").column == "price"


def test_an_earlier_clock_sees_only_the_past() -> None:
    prices = from_file(AAPL, datetime(2005, 2, 28, 20, tzinfo=UTC))
    assert prices.frame.index[-1] == pd.Timestamp("2005-02-25")


def test_another_value_session_or_column_is_another_hash(csv: Callable[[str], Path]) -> None:
    texts = ("day,close\n2013-01-02,1\n2013-01-03,2\n", "day,close\n2013-01-02,1\n2013-01-04,2\n")
    others = (
        "day,close\n2013-01-02,1\n2013-01-03,3\n",
        "day,close,volume\n2013-01-02,1,1\n2013-01-03,2,1\n",
    )
    assert len({from_file(csv(text)).sha256 for text in (*texts, *others)}) == 4


@pytest.mark.parametrize(
    "dates",
    [
        ("2013-01-02", "2013-01-31"),
        ("20130102", "20130131"),
        ("2013/01/02", "2013/01/31"),
        ("01/02/2013", "01/31/2013"),
        ("02/01/2013", "31/01/2013"),
        ("2.1.2013", "31.1.2013"),
        ("2013-01-02 00:00:00-05:00", "2013-01-31 00:00:00-05:00"),
        ("2013-01-02 00:00:00-05", "2013-01-31 00:00:00-05"),
        ("2013-01-02 00:00:00-05", "2013-01-31 00:00:00-04"),
        ("2013-01-02 00:00:00+09", "2013-01-31 00:00:00+09"),
        ("2013-01-02 00:00:00 +0900", "2013-01-31T00:00+08:30"),
        ("2013-01-02", "2013-01-31T00:00+09"),
        ("2013-01-02T14:30:00Z", "2013-01-31T14:30:00Z"),
        ("2013-01-03T01:00:00Z", "2013-02-01T01:00:00Z"),
    ],
)
def test_dates_are_read_in_the_usual_ways_as_days_on_the_exchange(
    csv: Callable[[str], Path], dates: tuple[str, str]
) -> None:
    prices = from_file(csv(f"Date,Close\n{dates[0]},1\n{dates[1]},2\n"))
    assert list(prices.frame.index) == [pd.Timestamp("2013-01-02"), pd.Timestamp("2013-01-31")]


def test_numbers_in_parquet_may_be_dates(tmp_path: Path) -> None:
    pd.DataFrame({"date": [20130102, 20130103], "close": [1.0, 2.0]}).to_parquet(tmp_path / "a")
    assert from_file(tmp_path / "a").frame.index[1] == pd.Timestamp("2013-01-03")


def test_an_unsorted_file_is_sorted_with_a_warning(csv: Callable[[str], Path]) -> None:
    prices = from_file(csv("date,close\n2013-01-03,2.1\n2013-01-02,2\n\n"))
    assert prices.frame["close"].tolist() == [2.0, 2.1]
    assert "sorted" in prices.warnings[0]


def test_an_open_of_zero_is_an_unknown_open(csv: Callable[[str], Path]) -> None:
    prices = from_file(csv("date,open,close\n2013-01-02,0,1\n2013-01-03,1.1,1.2\n"))
    assert prices.frame["open"].isna().tolist() == [True, False]
    assert "open is unknown in sessions 2013-01-02" in prices.warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("date,close\n", "has no rows"),
        ("date,close\n2013-01-02,1\n", "has 1 of the sessions closed by 2026-11-20"),
        ("date,close\n2030-01-02,1\n2030-01-03,2\n", "has 0 of the sessions closed by 2026-11-20"),
        ("when,close\n2013-01-02,1\n",
         "no date column by a usual name; of its 2 columns 'close' has a usual name"),
        ("date,value\n2013-01-02,1\n",
         "no price column by a usual name; of its 2 columns 'date' has a usual name"),
        ("date,close\n2013-01-02,1\n2013-01-03,abc\n",
         "column 'close' has 'abc', not a number, in lines 3"),
        ("date,close\n2013-01-02,1\n\n2013-01-03,\n",
         "column 'close' has no price (nan of 2013-01-03) in lines 4"),
        ("date,close\n2013-01-02,inf\n2013-01-03,2\n",
         "has an infinite price (inf of 2013-01-02) in lines 2"),
        ("date,close\n2013-01-02,-1\n2013-01-03,0\n",
         "has a price of zero or less (-1 of 2013-01-02) in lines 2, 3"),
        ("date,close\n2013-01-02,1\n2013-01-02,2\n",
         "a second price of the same date (1 of 2013-01-02) in lines 2, 3"),
        ("date,close\n2013-01-02,1\nsoon,2\n",
         "column 'date' has 'soon', not a date, in lines 3, where YYYY-MM-DD is expected"),
        ("date,close\n2013-01-02,1\n,2\n", "column 'date' has nothing, not a date, in lines 3"),
        ("date,close\n2013-02-30,1\n2013-01-03,2\n", "'2013-02-30', not a date, in lines 2"),
        ("date,close\n1357102800,1\n1357189200,2\n", "'1357102800', not a date, in lines 2, 3"),
        ("date,close\n01/02/2013,1\n01/03/2013,2\n", "column 'date' may put day or month first"),
        ("date,close\n2013-01-02,7\n2013-01-03,7\n", "column 'close' is 7 in all 2 sessions"),
        ("date,close\n2013-01-02,1\n2013-01-03,1,234\n", "line 3 has more fields"),
        ("date,close\n2013-01-02,1,234\n2013-01-03,1,235\n",
         "line 2 has more fields than the header"),
    ],
)  # fmt: skip
def test_an_unfit_file_is_refused_in_one_line(
    csv: Callable[[str], Path], text: str, message: str
) -> None:
    path = csv(text)
    refused = refusal(path)
    assert refused.startswith(str(path))
    assert message in refused


def test_only_the_first_of_many_bad_rows_are_named(csv: Callable[[str], Path]) -> None:
    rows = "".join(f"2013-01-{day:02},x\n" for day in range(1, 21))
    assert "in lines 2, 3, 4, 5, 6 and 15 more" in refusal(csv(f"date,close\n{rows}"))


def test_a_named_column_must_be_there(csv: Callable[[str], Path]) -> None:
    path = csv("date,close,vwap\n2013-01-02,1,1\n2013-01-03,2,3\n")
    assert from_file(path, price_column="vwap").frame["close"].tolist() == [1, 3]
    assert "has no column 'Close'; its columns are 'date', 'close', 'vwap'" in refusal(
        path, price_column="Close"
    )


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "none.csv")
    for content in (bytes(range(256)) * 9, b"PAR1 and then nothing"):
        (tmp_path / "garbage").write_bytes(content)
        assert "cannot be read as CSV or Parquet" in refusal(tmp_path / "garbage")

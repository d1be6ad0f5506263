"""Opens are adjusted by the close that they belong to, or left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.rnn_core.data.price_files import AAPL, TABLE, read


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ({"Adj Close": "Close", "Close": "Unadjusted Close"}, None),
        ({"Adj Close": "Close", "Close": "Last"}, None),
        ({"Adj Close": "Total Return", "Close": "Last"}, "Total Return"),
    ],
)
def test_opens_belong_to_the_close_they_are_near(
    tmp_path: Path, names: dict[str, str], chosen: str | None
) -> None:
    TABLE[["Open", "Close", "Adj Close"]].rename(columns=names).to_csv(tmp_path / "prices.csv")
    prices = read(tmp_path / "prices.csv", **({"price_column": chosen} if chosen else {}))
    expected = read(AAPL).frame[["close", "open"]]
    pd.testing.assert_frame_equal(prices.frame, expected)


def test_adjusted_opens_stay_as_they_are(tmp_path: Path) -> None:
    adjusted = TABLE.assign(Open=TABLE["Open"] * TABLE["Adj Close"] / TABLE["Close"])
    adjusted.to_csv(tmp_path / "prices.csv")
    np.testing.assert_allclose(read(tmp_path / "prices.csv").frame["open"], adjusted["Open"])


@pytest.mark.parametrize("columns", [["Close"], ["Adj Close", "Price"], ["Close", "Last"]])
@pytest.mark.parametrize("adjustment", ["vendor", "late split", "dividends"])
def test_opens_far_from_every_close_are_left_out(
    tmp_path: Path, columns: list[str], adjustment: str
) -> None:
    is_early = np.arange(len(TABLE)) < len(TABLE) // 10
    factor = {
        "vendor": TABLE["Adj Close"] / TABLE["Close"],
        "late split": np.where(is_early, 0.25, 1.0),
        "dividends": np.linspace(0.88, 1.0, len(TABLE)),
    }[adjustment]
    adjusted = TABLE["Adj Close"]
    table = pd.DataFrame({"Open": TABLE["Open"] * adjusted / TABLE["Close"] / factor})
    table[columns] = np.column_stack([adjusted] * len(columns))
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "prices.csv")
    prices = read(tmp_path / "prices.csv")
    assert list(prices.frame.columns) == ["close"]
    assert "column 'Open' is left out: it is near none of the closes" in prices.warnings[0]


def test_an_adjusted_close_of_any_name_adjusts_the_open_by_its_ratio(tmp_path: Path) -> None:
    named = TABLE[["Open", "Close"]].assign(**{"Total Return Close": TABLE["Adj Close"]})
    named.to_csv(tmp_path / "vendor.csv")
    prices = read(tmp_path / "vendor.csv", price_column="Total Return Close")
    usual = read(AAPL)
    np.testing.assert_allclose(prices.frame["open"], usual.frame["open"], rtol=1e-12)
    np.testing.assert_array_equal(prices.frame["close"], usual.frame["close"])

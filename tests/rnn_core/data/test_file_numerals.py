"""A number that may mean two things is refused; header, separator and other rows may decide."""

from pathlib import Path

import pytest

from rnn_core.errors import DataError
from tests.rnn_core.data.price_files import dated, read, write


def test_a_comma_that_may_part_thousands_or_decimals_is_refused(tmp_path: Path) -> None:
    text = "Date;Close\n2013-01-02;73,668\n2013-01-03;74,125\n"
    with pytest.raises(
        DataError, match="'73,668', whose comma may part thousands or decimals; write"
    ):
        read(write(tmp_path / "prices.csv", text))
    certain = text.replace("73,668", "1,073,668")
    assert read(write(tmp_path / "prices.csv", certain)).frame["close"].tolist() == [1073668, 74125]


@pytest.mark.parametrize("separator", [";", "\t", ","])
@pytest.mark.parametrize(
    ("closes", "examples"),
    [
        (["100.13", "101,05", "100.27"], "'100.13' and '101,05'"),
        (["1005.25", "100,13", "101,27"], "'1005.25' and '100,13'"),
        (["1.001,5", "1,001.5", "998"], "'1,001.5' and '1.001,5'"),
        (["1.001.000", "0.125", "998"], "'0.125' and '1.001.000'"),
        (["1e-1,5", "1,5", "2.5e3"], "'2.5e3' and '1,5'"),
    ],
)
def test_numbers_that_part_decimals_by_different_marks_are_refused(
    tmp_path: Path, separator: str, closes: list[str], examples: str
) -> None:
    table = dated(closes)
    table.to_csv(tmp_path / "prices.csv", sep=separator, index=False)
    table.to_parquet(tmp_path / "prices.parquet")
    for name in ("prices.csv", "prices.parquet"):
        with pytest.raises(DataError, match=f"'Close' has {examples}, which part decimals"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("names", "separator"),
    [
        (("Datum", "Schluss"), ","),
        (("Datum", "Schlußkurs"), "\t"),
        (("Date", "Clôture"), ","),
        (("fecha", "cierre"), ","),
        (("일자", "종가"), ";"),
        (("Date", "Close"), ";"),
    ],
)
@pytest.mark.parametrize("closes", [["1.001", "998"], ["100,126", "100,127"]])
def test_a_number_of_two_meanings_is_refused_unless_header_and_separator_decide(
    tmp_path: Path, names: tuple[str, str], separator: str, closes: list[str]
) -> None:
    path = tmp_path / "prices.csv"
    table = dated(closes).set_axis(names, axis=1)
    table.to_csv(path, sep=separator, index=False)
    with pytest.raises(DataError, match=f"'{closes[0]}', whose .* may part thousands or decimals"):
        read(path, date_column=names[0], price_column=names[1])


@pytest.mark.parametrize(
    ("header", "separator"), [("Date,Close", ","), ("일자,종가", ","), ("일자\t종가", "\t")]
)
@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        (["73,668", "998"], [73668, 998]),
        (["1.001", "0.998"], [1.001, 0.998]),
        (["1.001", "998,5"], [1001, 998.5]),
        (["1,001.5", ".5"], [1001.5, 0.5]),
    ],
)
def test_numbers_are_read_as_header_separator_and_other_rows_decide(
    tmp_path: Path, header: str, separator: str, closes: list[str], expected: list[float]
) -> None:
    path = tmp_path / "prices.csv"
    table = dated(closes).set_axis(header.split(separator), axis=1)
    table.to_csv(path, sep=separator, index=False)
    assert read(path).frame["close"].tolist() == expected

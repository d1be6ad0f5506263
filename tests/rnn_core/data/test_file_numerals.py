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
        (["1,234", "101.05"], [1234, 101.05]),
        (["100.130", "1,001", "99.5"], [100.13, 1001, 99.5]),
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


@pytest.mark.parametrize(
    ("header", "separator"),
    [("Date;Close", ";"), ("Datum;Schluss", ";"), ("일자;종가", ";"), ("Date\tClose", "\t")],
)
@pytest.mark.parametrize(
    ("closes", "doubtful", "decimal"),
    [
        (["100.130", "100.250", "101,05"], "100.130", "101,05"),
        (["101,05", "100.130", "1.001,5"], "100.130", "101,05"),
        (["101.05", "1,234", "99"], "1,234", "101.05"),
        (["1.001", "998,5", "99"], "1.001", "998,5"),
        (["1.073.668", "74.125", "998,5"], "74.125", "998,5"),
        (["1,234", "0.5", "1,234.25"], "1,234", "0.5"),
    ],
)
def test_a_number_without_decimals_beside_others_is_refused_unless_the_header_decides(
    tmp_path: Path, header: str, separator: str, closes: list[str], doubtful: str, decimal: str
) -> None:
    table = dated(closes).set_axis(header.split(separator), axis=1)
    table.to_csv(tmp_path / "prices.csv", sep=separator, index=False)
    table.to_parquet(tmp_path / "prices.parquet")
    for name in ("prices.csv", "prices.parquet"):
        with pytest.raises(DataError) as error:
            read(tmp_path / name)
        mark = "comma" if "," in doubtful else "point"
        assert f"has {doubtful!r} beside {decimal!r}: its {mark} may" in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("header", ["Date,Close", "일자,종가"])
@pytest.mark.parametrize(
    "closes",
    [
        ["100.130", "100.250", "101,05"], ["1.001", "998,5"], ["73,668", "74.125,50"],
        ["998.125", "1.001.000"],
    ],
)  # fmt: skip
def test_a_header_does_not_decide_against_the_other_rows(
    tmp_path: Path, header: str, closes: list[str]
) -> None:
    table = dated(closes).set_axis(header.split(","), axis=1)
    table.to_csv(tmp_path / "prices.csv", index=False)
    with pytest.raises(DataError, match=f"has {closes[0]!r} beside {closes[-1]!r}: its"):
        read(tmp_path / "prices.csv")


@pytest.mark.parametrize("column", ["Open", "Volume"])
def test_a_doubtful_open_or_volume_is_refused_too(tmp_path: Path, column: str) -> None:
    table = dated(["100", "101"]).assign(**{column: ["100.130", "101,05"]})
    table.to_csv(tmp_path / "prices.csv", sep=";", index=False)
    with pytest.raises(DataError, match=f"column '{column}' has '100.130' beside '101,05'"):
        read(tmp_path / "prices.csv")


def test_volumes_in_groups_of_three_are_read(tmp_path: Path) -> None:
    table = dated(["100,5", "101"]).assign(Volume=["1.234.567", "987.654"])
    table.to_csv(tmp_path / "prices.csv", sep=";", index=False)
    frame = read(tmp_path / "prices.csv").frame
    assert frame["close"].tolist() == [100.5, 101]
    assert frame["volume"].tolist() == [1_234_567, 987_654]

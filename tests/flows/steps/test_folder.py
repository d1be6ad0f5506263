"""Runs of deployments read files below one folder; those from the shell read what they may."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect import flow

from flows.steps import folder
from flows.steps.prices import prices_or_fallback
from flows.universe.flow import listed
from rnn_core.commands import RetrainUniverse
from rnn_core.config import File
from rnn_core.errors import ConfigError, DataError
from tests.flows.conftest import AAPL

NOW = datetime(2021, 6, 2, 22, tzinfo=UTC)


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> Path:
    """A run that a worker has started in a folder with `data/prices.csv`; return `data`."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "0b7f3c5e-0000-4000-8000-000000000000")
    monkeypatch.delenv(folder.VARIABLE, raising=False)
    data = workplace / "data"
    data.mkdir()
    (data / "AAPL.csv").write_bytes(AAPL.read_bytes())
    (workplace / "database.csv").write_bytes(AAPL.read_bytes())
    (data / "inside").symlink_to("AAPL.csv")
    (data / "outside").symlink_to(workplace / "database.csv")
    (data / "up").symlink_to("..")
    (data / "circle").symlink_to("circle")
    return data


def refuse(path: Path, ticker: str = "AAPL") -> None:
    folder.refuse_file_elsewhere(File(path=path), ticker)


@pytest.mark.parametrize(
    "path",
    ["data/AAPL.csv", "data/../data/./AAPL.csv", "data/{ticker}.csv", "data/inside", "data/absent",
     "data/up/data/AAPL.csv"],
)  # fmt: skip
def test_what_is_below_the_folder_may_be_read(deployed: Path, path: str) -> None:
    refuse(Path(path))
    refuse(deployed.parent / path)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "/proc/self/environ", "database.csv", "../database.csv",
     "data/../database.csv", "data/outside", "data/up/database.csv", "data/circle", ".", "/",
     "data2/AAPL.csv", "/proc/self/cwd/database.csv", "data/\0", "{ticker}/../../../etc/passwd",
     "~/.ssh/id_rsa"],
)  # fmt: skip
def test_whatever_is_elsewhere_is_refused_in_one_line(deployed: Path, path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        refuse(Path(path))
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    assert f"is outside {deployed}, " in message
    assert folder.VARIABLE in message


def test_a_ticker_that_climbs_is_refused(deployed: Path) -> None:
    with pytest.raises(ConfigError, match="is outside"):
        refuse(Path("data/{ticker}.csv"), "../database")


def test_the_variable_names_another_folder(
    deployed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("prices")
    monkeypatch.setenv(folder.VARIABLE, str(other))
    refuse(other / "AAPL.csv")
    with pytest.raises(ConfigError, match=f"is outside {other}"):
        refuse(deployed / "AAPL.csv")
    monkeypatch.setenv(folder.VARIABLE, os.path.relpath(other))
    refuse(other / "AAPL.csv")


def test_prices_and_lists_of_tickers_are_both_held_to_it(deployed: Path) -> None:
    with pytest.raises(ConfigError, match=r"source\.path database\.csv is outside"):
        prices_or_fallback(File(path=Path("database.csv")), "AAPL", NOW)
    Path("universe.txt").write_text("AAPL\n")
    with pytest.raises(ConfigError, match=r"file universe\.txt is outside"):
        listed(RetrainUniverse(file=Path("universe.txt")))


@flow
def reading(path: str) -> None:
    """A flow as the shell runs it: it has a flow run, and no deployment."""
    prices_or_fallback(File(path=Path(path)), "AAPL", NOW)


def test_a_run_from_the_shell_reads_any_file() -> None:
    with pytest.raises(DataError, match=r"^/etc/passwd: "):
        reading("/etc/passwd")

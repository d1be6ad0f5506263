"""Claims on work between real processes, on both kinds of ledger."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Thread

import pytest

from rnn_core.errors import LedgerError
from rnn_core.operations.ledger import Ledger, claims
from tests.postgres import Postgres, running_postgres

SUBJECT = ("^GSPC", "675d61bd836d", "yahoo")
HOLD = """
import sys
from rnn_core.operations.ledger import Ledger
with Ledger.open(sys.argv[1]) as ledger, ledger.claim(*sys.argv[2:]):
    print("held", flush=True)
    sys.stdin.read()
"""
names = count()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Ledger, str]]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").create_database(f"claims{next(names)}")
    with Ledger.open(url) as opened:
        yield opened, url


@contextmanager
def holder(url: str, *subject: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds a claim until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, url, *subject],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_claim_that_another_process_holds_is_waited_for_and_not_for_ever(
    ledger: tuple[Ledger, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, url = ledger
    monkeypatch.setattr(claims, "LONGEST_WAIT", 0.6)
    with holder(url, *SUBJECT):
        before = time.monotonic()
        with pytest.raises(LedgerError) as error, opened.claim(*SUBJECT):
            pytest.fail("two hold it")
        assert 0.6 <= time.monotonic() - before < 10
        assert str(error.value) == (
            "^GSPC 675d61bd836d yahoo: another process has been at work on it for 0.01 minutes; "
            "end that process, or start again later"
        )
        with opened.claim(SUBJECT[0], "another", SUBJECT[2]):
            pass  # is free


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_a_claim_ends_with_the_process_that_holds_it(ledger: tuple[Ledger, str], end: str) -> None:
    opened, url = ledger
    with holder(url, *SUBJECT) as process:
        Thread(target=lambda: (time.sleep(0.5), getattr(process, end)())).start()
        before = time.monotonic()
        with opened.claim(*SUBJECT):
            assert 0.4 <= time.monotonic() - before < 10
            assert process.poll() is not None


def test_threads_of_one_process_wait_for_each_other(ledger: tuple[Ledger, str]) -> None:
    opened, _ = ledger
    at_work: list[int] = []
    most: list[int] = []

    def work() -> None:
        with opened.claim(*SUBJECT):
            at_work.append(1)
            most.append(len(at_work))
            time.sleep(0.1)
            at_work.pop()

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1, 1, 1, 1]


def test_a_claim_is_given_back_if_the_work_fails(ledger: tuple[Ledger, str]) -> None:
    opened, url = ledger
    with pytest.raises(ZeroDivisionError), opened.claim(*SUBJECT):
        raise ZeroDivisionError
    with holder(url, *SUBJECT):
        pass  # could take it


def test_the_ledger_can_be_written_to_by_all_meanwhile(ledger: tuple[Ledger, str]) -> None:
    opened, url = ledger
    with holder(url, *SUBJECT), opened.deciding("MSFT") as decision:
        assert decision.champions == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "ledger.db.claims").write_text("a file, not a folder")
    with (
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened,
        pytest.raises(LedgerError, match=r"ledger sqlite:.*ledger\.db\.claims cannot be written"),
        opened.claim(*SUBJECT),
    ):
        pytest.fail("it is claimed")

"""The table of faults: how its rows are counted and kept, and that the docs show it."""

import json
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.faults import Fault

DOCS = Path(__file__).parents[2] / "docs/reliability.md"
TESTS = """
import pytest

def test_twice(record_property):
    record_property("times", 20)
    record_property("doubled", 3)

def test_once():
    pass
"""


@pytest.fixture(autouse=True)
def _of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_counted.py").write_text(TESTS)
    (tmp_path / "test_broken.py").write_text("def test_it():\n    assert False\n")
    (tmp_path / "test_skipped.py").write_text(
        "import pytest\npytest.skip(allow_module_level=True)\n"
    )
    monkeypatch.setattr(faults, "CHECKOUT", tmp_path)
    monkeypatch.setattr(faults, "FILE", tmp_path / "faults.json")


def test_what_tests_count_is_added_up_and_kept_row_by_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = Fault("first", "it ends", "test_counted.py -k once")
    second = Fault("second", "it ends", "test_counted.py", {"TIMES": "20"})
    monkeypatch.setattr(faults, "FAULTS", (first, second))
    assert faults.main([second]) == []
    assert faults.main([first]) == []
    assert faults.table().splitlines()[2:] == [
        "| first | 1 | it ends | 0 | 0 | 0 | `pytest test_counted.py -k once` |",
        "| second | 21 | it ends | 0 | 3 | 0 | `TIMES=20 pytest test_counted.py` |",
    ]
    assert {row["prefect"] for row in json.loads((tmp_path / "faults.json").read_text())["rows"]}


@pytest.mark.parametrize("tests", ["test_broken.py", "test_skipped.py", "test_absent.py"])
def test_a_row_of_which_a_test_does_not_pass_is_named_and_not_kept(
    tests: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fault = Fault("it", "it ends", tests)
    monkeypatch.setattr(faults, "FAULTS", (fault,))
    [sentence] = faults.main([fault])
    assert sentence == f"it: 1 of the tests failed: pytest {tests}"
    assert not (tmp_path / "faults.json").exists()


def test_the_docs_show_the_table_as_it_was_measured() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "FILE", faults.RESULTS / "faults.json")
        rows = json.loads(faults.FILE.read_text())["rows"]
        assert faults.table() in DOCS.read_text()
    assert rows
    commands = [fault.command for fault in faults.FAULTS]
    assert all(row["command"] in commands for row in rows)
    assert all(row[name] == 0 for row in rows for name in ("lost", "doubled", "stuck"))

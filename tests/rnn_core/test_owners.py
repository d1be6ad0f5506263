"""Processes are told from each other, whatever number they get, and the dead from the living."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir

import pytest

from rnn_core import owners
from rnn_core.owners import Owner, this_process


def test_the_process_at_work_is_alive_and_its_text_says_all() -> None:
    owner = this_process()
    assert owner.pid == os.getpid()
    assert (owner.is_alive, owner.is_gone) == (True, False)
    assert Owner.parse(str(owner)) == owner


@pytest.mark.parametrize("text", ["", "web", "web+boot+pid+1", "web+boot+1", "web+boot+1+2+3"])
def test_another_text_names_no_process(text: str) -> None:
    assert Owner.parse(text) is None


def test_a_process_that_ended_is_gone_even_before_its_parent_has_asked_for_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = owners._owner(process.pid)
    assert owner.is_alive
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert (owner.is_alive, owner.is_gone) == (False, True)
    process.communicate()
    assert (owner.is_alive, owner.is_gone) == (False, True)


@pytest.mark.parametrize("change", [{"started": "1"}, {"boot": "another"}])
def test_a_process_of_the_same_number_is_another(change: dict[str, str]) -> None:
    owner = this_process()._replace(**change)  # type: ignore[arg-type]
    assert (owner.is_alive, owner.is_gone) == (False, True)


def test_of_a_process_of_another_host_nothing_is_known() -> None:
    owner = this_process()._replace(host="another", started="1")
    assert (owner.is_alive, owner.is_gone) == (False, False)


def test_a_process_that_may_not_be_looked_at_is_not_taken_for_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    owner = this_process()
    monkeypatch.setattr(owners, "PROC", tmp_path)  # as with hidepid=2
    assert not owner.is_gone


def test_only_the_folders_of_processes_that_are_gone_are_deleted() -> None:
    gone = this_process()._replace(started="1")
    elsewhere = gone._replace(host="another")
    with owners.temporary_folder() as here:
        left, others, strange = (
            Path(gettempdir(), f"rnnflow+{name}") for name in (f"{gone}+x", f"{elsewhere}+x", "x")
        )
        for folder in (left, others, strange):
            folder.mkdir()
            (folder / "file").touch()
        owners.delete_folders_of_gone()
        assert not left.exists()
        assert here.exists()
        for folder in (others, strange):
            (folder / "file").unlink()
            folder.rmdir()
    assert not here.exists()

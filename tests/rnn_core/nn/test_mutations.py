"""The suite notices a wrong engine: each fault of `mutations.py` fails the tests named with it.

The faults are put into copies of the package, and the tests run there, each in its own process.
These are forks of two that have imported what is slow to import, and nothing of the package.
"""

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.rnn_core.nn.mutations import FAULTS, Fault, import_what_is_slow, run_on_copy

ROOT = Path(__file__).parents[3]
PARTS = ("rnn_core", "tests/rnn_core")
Outcome = tuple[int, str]


def copy_with(fault: Fault, sound: Path, folder: Path) -> Path:
    """Link to all modules of `sound`, compiled ones too; copy the one that gets the fault."""
    for part in PARTS:
        shutil.copytree(sound / part, folder / part, copy_function=os.link)
    shutil.copy(sound / "pyproject.toml", folder)
    file = folder / "rnn_core" / fault.file
    text = file.read_text()
    times = text.count(fault.old)
    assert times == 1, f"{fault.old!r} stands {times} times in {fault.file}"
    file.unlink()
    file.write_text(text.replace(fault.old, fault.new))
    return folder


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("COV", "PYTEST"))]:
            patch.delenv(name)  # what runs there is not measured
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # half of a run's time
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RNNFLOW_KERNEL", "0")  # the faults are in NumPy's code
        with ProcessPoolExecutor(
            2, multiprocessing.get_context("spawn"), import_what_is_slow
        ) as executor:
            yield executor
            executor.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a sound copy of the package and of its tests in `sound`."""
    folder = tmp_path_factory.mktemp("mutations")
    for part in PARTS:
        without = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / part, folder / "sound" / part, ignore=without)
    shutil.copy(ROOT / "pyproject.toml", folder / "sound")
    return folder


@pytest.fixture(scope="module")
def without_a_fault(pool: ProcessPoolExecutor, folder: Path) -> Outcome:
    """The outcome of all the tests on the sound copy, which compiles its modules for the others."""
    every = tuple(sorted({test for fault in FAULTS.values() for test in fault.caught_by}))
    return pool.submit(run_on_copy, folder / "sound", every).result()


@pytest.fixture(scope="module")
def outcomes(
    pool: ProcessPoolExecutor, folder: Path, without_a_fault: Outcome
) -> dict[str, Future[Outcome]]:
    """The outcome of each fault; the tests below wait for one after the other."""
    futures = {}
    for number, (name, fault) in enumerate(FAULTS.items()):
        copy = copy_with(fault, folder / "sound", folder / str(number))
        futures[name] = pool.submit(run_on_copy, copy, fault.caught_by)
    return futures


def test_without_a_fault_the_same_tests_pass(without_a_fault: Outcome) -> None:
    code, report = without_a_fault
    assert code == pytest.ExitCode.OK, report


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_noticed(name: str, outcomes: dict[str, Future[Outcome]]) -> None:
    code, report = outcomes[name].result()
    assert code == pytest.ExitCode.TESTS_FAILED, report
    assert "1 failed" in report, report

"""The suite notices when the engine is wrong: each fault of `mutations.py` fails the tests named with it.

The faults are put into copies of the package, and the tests run there, each in a process of its own. These are forks of
two that have imported what is slow to import, and nothing of the package.
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
Outcome = tuple[int, str]


def copy_of_the_package(folder: Path, fault: Fault | None = None) -> Path:
    for part in ("rnn_core", "tests/rnn_core"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    if fault is not None:
        file = folder / "rnn_core" / fault.file
        text = file.read_text()
        assert text.count(fault.old) == 1, f"{fault.old!r} stands {text.count(fault.old)} times in {fault.file}"
        file.write_text(text.replace(fault.old, fault.new))
    return folder


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("COV", "PYTEST"))]:
            patch.delenv(name)  # what runs there is not measured
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RNNFLOW_KERNEL", "0")  # the faults are in NumPy's code
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), import_what_is_slow) as executor:
            yield executor
            executor.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def outcomes(pool: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Outcome]]:
    """What becomes of each fault; the tests below wait for one after the other."""
    folder = tmp_path_factory.mktemp("mutations")
    return {
        name: pool.submit(run_on_copy, copy_of_the_package(folder / str(number), fault), fault.caught_by)
        for number, (name, fault) in enumerate(FAULTS.items())
    }


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_noticed(name: str, outcomes: dict[str, Future[Outcome]]) -> None:
    code, report = outcomes[name].result()
    assert code == pytest.ExitCode.TESTS_FAILED, report
    assert "1 failed" in report, report


def test_without_a_fault_the_same_tests_pass(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    every = tuple(sorted({test for fault in FAULTS.values() for test in fault.caught_by}))
    code, report = pool.submit(run_on_copy, copy_of_the_package(tmp_path / "sound"), every).result()
    assert code == pytest.ExitCode.OK, report

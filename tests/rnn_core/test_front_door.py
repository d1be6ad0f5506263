"""`import rnn_core` gives what its users need, and changes nothing in their process."""

import subprocess
import sys

import pytest

import rnn_core
from rnn_core.nn import memory, settings, training


def output_of(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout


def test_the_front_door_has_the_names_of_their_modules() -> None:
    from rnn_core import Model, Training, fit, recurrent, to_torch_state_dict

    assert fit is training.fit
    assert (Model, Training) == (settings.Model, settings.Training)
    assert recurrent is rnn_core.nn.layers.recurrent
    assert to_torch_state_dict is rnn_core.nn.torch_bridge.to_torch_state_dict
    for name in rnn_core.__all__:
        assert getattr(rnn_core, name) is not None


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="module rnn_core has no attribute no_such_name"):
        rnn_core.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    "without_torch", ["", "sys.modules['torch'] = None  # as if it were not installed\n"]
)
def test_importing_it_imports_numpy_alone(without_torch: str) -> None:
    heavy = {"matplotlib", "mlflow", "pandas", "prefect", "pydantic", "scipy", "torch"}
    program = (
        f"import sys\n{without_torch}"
        "from rnn_core import Model, Training, fit, recurrent\n"
        f"print(*(name for name in {sorted(heavy)} if sys.modules.get(name)))"
    )
    assert output_of(program).split() == []


def test_importing_it_changes_nothing_in_the_process() -> None:
    program = """
import atexit, gc, tracemalloc
import numpy

before = gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()
registered = []
atexit.register = lambda function, *args, **kwargs: registered.append(function)
tracemalloc.start()
import rnn_core
import rnn_core.nn.training

largest = tracemalloc.get_traced_memory()[1]
assert (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()) == before
print([function.__module__ for function in registered], largest < 31 * 2**20)
"""
    assert output_of(program) == "[] True\n"


def test_a_process_is_tuned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[object] = []
    monkeypatch.setattr(memory.atexit, "register", registered.append)
    memory.tune_process.cache_clear()
    memory.tune_process()
    memory.tune_process()
    assert registered == [memory.gc.freeze]

"""The compiled kernel: NumPy's results, the same bits in any stack, within its arrays' bounds."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stacks import (
    CASES,
    CELLS,
    EVERY_CELL,
    LAYERS,
    LOSSES,
    RULES,
    batches,
    flat,
    started,
    train,
    train_epoch,
    validate,
)

from rnn_core.config import Model, Training
from rnn_core.errors import ArrayError, ConfigError
from rnn_core.nn.arrays import Array
from rnn_core.nn.engines import kernel
from rnn_core.nn.engines.numpy_engine import NumpyEngine
from tests.processes import require_program

ROOT = Path(__file__).parents[3]
BUILD = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
TOLERANCE = {"float64": 1e-12, "float32": 1e-4}
SETS = range(3)


@pytest.fixture(autouse=True)
def _kernel_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernel.SWITCH, "1")
    if kernel.library() is None:
        require_program("gcc")
        pytest.fail("the kernel is not built; install the package again")


@contextmanager
def numpy_alone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(kernel.SWITCH, "0")
        yield


def pair(**options: Any) -> tuple[NumpyEngine, NumpyEngine]:
    """The same stack in C and in NumPy."""
    compiled = started(**options)
    with numpy_alone():
        plain = started(**options)
    assert (compiled.kernel, plain.kernel) == (True, False)
    return compiled, plain


def assert_alike(here: Array, there: Array, tolerance: float) -> None:
    """Equal but for `tolerance`, relative to the largest value."""
    assert np.isfinite(there).all()
    assert np.abs(here - there).max() <= tolerance * np.abs(there).max()


def assert_trains_alike(
    tolerance: float, rows: Array, instruction_set: int | None = None, **options: Any
) -> None:
    compiled, plain = pair(**options)
    if instruction_set is not None:
        assert compiled._kernel is not None
        compiled._kernel._settings["instruction_set"] = instruction_set
    before = flat(plain.params)
    losses = [train(engine, rows) for engine in (compiled, plain)]
    assert_alike(*losses, tolerance)
    assert_alike(flat(compiled.params), flat(plain.params), tolerance)
    assert_alike(validate(compiled, **options), validate(plain, **options), tolerance)
    for name, value in plain.state.items():
        np.testing.assert_allclose(
            compiled.state[name], value, rtol=0, atol=tolerance * max(1, np.abs(value).max())
        )
    assert np.abs(flat(plain.params) - before).max() > 1e-4


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_hundred_updates_are_those_of_numpy(cell: str, case: dict[str, Any], dtype: str) -> None:
    options = case | {"cell": cell, "dtype": dtype}
    assert_trains_alike(TOLERANCE[dtype], batches(5, 20, **options), **options)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("cell", EVERY_CELL)
def test_a_hundred_updates_of_every_net_are_those_of_numpy(
    cell: str, case: dict[str, Any], dtype: str
) -> None:
    options = case | {"cell": cell, "dtype": dtype}
    assert_trains_alike(TOLERANCE[dtype], batches(10, 10, **options), **options)


@pytest.mark.parametrize("cell", CELLS)
def test_a_hundred_epochs_of_sgd_are_those_of_numpy(cell: str) -> None:
    assert_trains_alike(1e-12, batches(100, 10, batch=3), cell=cell, batch=3, clip_value=5.0)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("cell", EVERY_CELL)
@pytest.mark.parametrize("depth", [1, 2])
def test_every_instruction_set_gives_numpys_results(
    cell: str, dtype: str, instruction_set: int, depth: int
) -> None:
    build = kernel.library()
    assert build is not None
    if instruction_set >= build.kernel_instruction_sets():
        pytest.skip("this processor lacks the instructions")
    options = {"cell": cell, "dtype": dtype, "hidden_size": 11, "optimiser": "adam", "batch": 37}
    options |= {"num_layers": depth, "bidirectional": depth > 1}
    assert_trains_alike(TOLERANCE[dtype], batches(2, 5, **options), instruction_set, **options)


small = st.integers(1, 9)


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.fixed_dictionaries(
        {
            "seq_len": small,
            "input_size": small,
            "batch": st.integers(1, 70),
            "hidden_size": st.integers(1, 35),
        }
    ),
    outputs=small,
    kind=st.fixed_dictionaries(
        {
            "cell": st.sampled_from(EVERY_CELL),
            "bias": st.booleans(),
            "readout": st.sampled_from(["last", "steps"]),
            "head": st.sampled_from(["linear", "tanh"]),
            "lengths": st.booleans(),
        }
    ),
    depth=st.just({})
    | st.fixed_dictionaries(
        {"num_layers": st.just(2) | st.just(3), "dropout": st.just(0) | st.just(0.4)}
    ),
    direction=st.one_of(
        st.just({"bidirectional": True}),
        st.builds(lambda steps: {"truncate": steps}, st.none() | small),
    ),
    loss=st.sampled_from([value for value in LOSSES.values() if "class_weights" not in value]),
    rule=st.sampled_from(list(RULES.values())),
)
@example(  # one first gradient of 1e-9
    sizes={"seq_len": 5, "input_size": 6, "batch": 57, "hidden_size": 16},
    outputs=9,
    kind={"cell": "rnn_tanh", "bias": False, "readout": "steps"},
    depth={},
    direction={},
    loss={"loss": "mean_squared_error"},
    rule={"optimiser": "adam", "weight_decay": 0.1},
)
def test_whatever_is_asked_for_is_trained_as_numpy_does(
    sizes: dict[str, Any],
    outputs: int,
    kind: dict[str, Any],
    depth: dict[str, Any],
    direction: dict[str, Any],
    loss: dict[str, Any],
    rule: dict[str, Any],
) -> None:
    options = sizes | kind | depth | direction | loss | rule | {"output_size": outputs}
    compiled, plain = pair(**options)
    rows = batches(2, 4, **options)
    rows[:, :, 0, 0] = 0  # every model has a row
    losses = [train(engine, rows) for engine in (compiled, plain)]
    np.testing.assert_allclose(*losses, rtol=1e-11)
    here, there = flat(compiled.params), flat(plain.params)
    if "optimiser" in rule:
        # Adam's first step is g / (|g| + 1e-8) times the rate, 6e-3 at most: where g is nearly
        # zero it shows the rounding of g, 1e-16. After one update `second` is g² / 1000.
        first = pair(**options)[1]
        train(first, rows[:1, :, :1])
        unsteady = np.sqrt(1000 * first.state["second"]) < 1e-7
        assert np.abs(here - there)[unsteady].max(initial=0) <= 6e-3 * 1e-8
        here = np.where(unsteady, there, here)
    assert_alike(here, there, 1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", ["one layer", "dropout of both", "lengths of both"])
def test_neither_the_threads_nor_the_other_models_change_a_bit(
    cell: str, dtype: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = LAYERS[case] | {"cell": cell, "dtype": dtype, "optimiser": "adam", "models": 7}
    rows = batches(2, 5, **options)

    def trained(**more: Any) -> tuple[Array, Array, Array]:
        engine, pick = started(**options | more), more.get("pick")
        rates = 3e-3 * np.linspace(1, 2, 7)
        own, rate = (rows, rates) if pick is None else (rows[:, pick], rates[pick])
        losses = np.array([train_epoch(engine, epoch, rate) for epoch in own])
        return losses, flat(engine.params), validate(engine)

    expected = trained()
    for threads in (1, 2, 3, 20):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        for ours, theirs in zip(trained(), expected, strict=True):
            assert ours.tobytes() == theirs.tobytes()
    for pick in ([3], [6, 0, 2]):
        losses, params, valid = trained(pick=pick)
        assert losses.tobytes() == expected[0][:, pick].tobytes()
        assert params.tobytes() == expected[1][pick].tobytes()
        assert valid.tobytes() == expected[2][pick].tobytes()


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_training_goes_on_from_a_state_to_the_same_bits(cell: str, optimiser: str) -> None:
    options = {"cell": cell, "optimiser": optimiser, "momentum": 0.9 if optimiser == "sgd" else 0.0}
    rows = batches(3, 5)
    whole, other = started(**options), started(**options)
    train(whole, rows[:1])
    other.state = whole.state
    assert train(whole, rows[1:]).tobytes() == train(other, rows[1:]).tobytes()
    for name, value in whole.state.items():
        assert other.state[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize("rate", [1e307, np.inf])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_model_that_turns_non_finite_is_frozen_when_numpy_freezes_it(
    cell: str, optimiser: str, dtype: str, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the model after it is computed where it was
    options = {"cell": cell, "optimiser": optimiser, "dtype": dtype, "loss": "mean_squared_error"}
    rows, rates = batches(3, 5), np.array([3e-3, rate, 3e-3])
    compiled, plain = pair(**options)
    losses = [
        np.array([train_epoch(engine, epoch, rates) for epoch in rows])
        for engine in (compiled, plain)
    ]
    assert compiled.frozen.tolist() == plain.frozen.tolist()
    assert compiled.frozen[1] >= 0
    np.testing.assert_array_equal(np.isfinite(losses[0]), np.isfinite(losses[1]))
    assert np.isfinite(flat(compiled.params)).all()
    assert_alike(flat(compiled.params)[[0, 2]], flat(plain.params)[[0, 2]], TOLERANCE[dtype])
    if optimiser == "adam":
        assert compiled.state["step"].tolist() == plain.state["step"].tolist()


def test_a_model_that_is_lost_in_a_later_epoch_of_a_call_is_frozen_at_its_update(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "rnn_core.nn.engines.numpy_engine.AHEAD", 1
    )  # it gathers its batches one by one
    rows, rates = batches(3, 5).swapaxes(0, 1), np.full((3, 3), 3e-3)
    rates[1, 2] = np.inf
    compiled, plain = pair()
    losses = [engine.train(rows, rates) for engine in (compiled, plain)]
    assert compiled.frozen.tolist() == plain.frozen.tolist()
    assert compiled.frozen[1] in range(10, 15)
    np.testing.assert_allclose(*losses, rtol=1e-11)


@pytest.mark.parametrize(
    "rule", [{}, {"momentum": 0.9}, {"optimiser": "adam"}], ids=["sgd", "momentum", "adam"]
)
def test_a_gradient_that_is_not_a_number_freezes_a_model_even_from_a_window_that_is_not_scored(
    rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the model after it is computed where it was
    compiled, plain = pair(**rule)
    for engine in (compiled, plain):
        unscored = int(np.flatnonzero(~engine._targets.mask[:, 0])[0])
        engine._inputs.x[unscored] = np.nan
        rows = np.zeros((3, 2, 2), dtype=int)
        rows[1, 1, 0] = unscored
        train_epoch(engine, rows, np.full(3, 3e-3))
    assert compiled.frozen.tolist() == plain.frozen.tolist() == [-1, 1, -1]
    assert_alike(flat(compiled.params), flat(plain.params), 1e-12)


def test_models_without_rows_or_without_a_scored_one_keep_everything() -> None:
    compiled, plain = pair(optimiser="adam")
    rows = batches(1, 4)[0]
    rows[0] = -1
    rows[1] = np.flatnonzero(~plain._targets.mask[:, 0])[0]
    before = compiled.state
    losses = [train_epoch(engine, rows, np.full(3, 3e-3)) for engine in (compiled, plain)]
    np.testing.assert_allclose(*losses, rtol=1e-12)
    assert np.isnan(losses[0]).tolist() == [True, True, False]
    for name in ("params", "step", "first", "second"):
        assert compiled.state[name][:2].tobytes() == before[name][:2].tobytes()
        assert compiled.state[name][2].tobytes() != before[name][2].tobytes()
    valid = np.array([[-1, -1], [rows[1, 0, 0], -1], [0, 1]])
    np.testing.assert_allclose(compiled.loss(valid), plain.loss(valid), rtol=1e-12)
    nobody = np.full((3, 0), -1)
    assert np.isnan(compiled.loss(nobody)).all()
    assert np.isnan(train_epoch(compiled, np.full((3, 2, 2), -1), np.full(3, 3e-3))).all()


@pytest.mark.parametrize(("dtype", "ulps"), [("float64", 4), ("float32", 4)])
@pytest.mark.parametrize("instruction_set", SETS)
def test_tanh_is_numpys_to_a_few_units_in_the_last_place(
    dtype: str, ulps: int, instruction_set: int
) -> None:
    build = kernel.library()
    assert build is not None
    if instruction_set >= build.kernel_instruction_sets():
        pytest.skip("this processor lacks the instructions")
    size = np.geomspace(1e-30, 60, 200_000)
    edges = [
        0,
        np.inf,
        np.finfo(dtype).max,
        np.finfo(dtype).tiny,
        np.finfo(dtype).smallest_subnormal,
        np.nan,
    ]
    positive = np.concatenate([size, np.linspace(0, 1.5, 200_000), edges])
    buffer = np.zeros(16 * (len(positive) // 8 + 2), dtype)
    start = -buffer.ctypes.data % 64 // buffer.itemsize
    x = buffer[start : start + len(buffer) // 32 * 16]
    both = np.concatenate([positive, -positive]).astype(dtype)[: len(x)]
    x[: len(both)] = both
    y = x.copy()
    aligned = np.zeros(len(x) + 16, dtype)
    y = aligned[-aligned.ctypes.data % 64 // aligned.itemsize :][: len(x)]
    build.kernel_tanh(instruction_set, dtype == "float32", x.ctypes.data, y.ctypes.data, len(x))
    exact = np.tanh(x.astype(np.longdouble))
    finite = np.isfinite(x)
    error = np.abs(y[finite] - exact[finite]) / np.spacing(np.abs(exact[finite].astype(dtype)))
    assert error.max() <= ulps
    np.testing.assert_array_equal(y[~finite], np.tanh(x[~finite]))
    np.testing.assert_array_equal(np.signbit(y), np.signbit(x))
    assert np.abs(y[finite]).max() == 1


def test_arrays_that_the_kernel_cannot_trust_are_left_to_numpy() -> None:
    engine = started()
    model, training = Model(hidden_size=5), Training()
    inputs, targets, params = engine._inputs, engine._targets, engine.params

    def reason(**change: Any) -> str | None:
        parts = {"inputs": inputs, "targets": targets, "params": params} | change
        return kernel.uncovered(model, training, **parts)

    assert reason() is None
    assert reason(inputs=replace(inputs, lengths=np.ones(23, int))) is None
    assert reason(inputs=replace(inputs, x=inputs.x.astype("float32"))) == "arrays of several types"
    for change in (
        {"inputs": replace(inputs, x=inputs.x[0])},
        {"inputs": replace(inputs, x=inputs.x[:, :0])},
        {"inputs": replace(inputs, x=inputs.x[:22])},
        {"inputs": replace(inputs, center=inputs.center[:2])},
        {"inputs": replace(inputs, lengths=np.ones(22, int))},
        {"inputs": replace(inputs, lengths=np.zeros(23, int))},
        {"inputs": replace(inputs, lengths=np.full(23, 7))},
        {"targets": replace(targets, y=targets.y[:, 0])},
        {"targets": replace(targets, mask=targets.mask[:22])},
        {"targets": replace(targets, class_weights=np.ones(3))},
        {"params": dict(reversed(params.items()))},
    ):
        assert reason(**change) == "shapes that do not fit"


def test_one_can_ask_whether_the_kernel_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert kernel.available()
    with numpy_alone():
        assert not kernel.available()
        assert not started().kernel
    monkeypatch.setattr(kernel, "LIBRARY", "rnn_core.nn.engines._none")
    assert kernel.library.__wrapped__() is None
    (tmp_path / "not_a_library.so").write_text("nothing")
    assert kernel.load(str(tmp_path / "not_a_library.so")) is None
    monkeypatch.setattr(kernel, "library", lambda: None)
    assert not kernel.available()
    assert not started().kernel


def test_a_library_of_another_kernel_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(next(Path(kernel.__file__).parent.glob("_kernel*.so")))
    assert kernel.load(path) is not None
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "Task", kernel.ctypes.c_int64)
        assert kernel.load(path) is None
    monkeypatch.setattr(kernel, "VERSION", kernel.VERSION + 1)
    assert kernel.load(path) is None


def test_a_library_from_before_the_versions_is_not_used(tmp_path: Path) -> None:
    """Its tasks are as large, but their codes mean something else."""
    functions = ("instruction_sets", "train", "loss", "tanh")
    size = kernel.ctypes.sizeof(kernel.Task)
    source = "".join(f"int kernel_{name}(void) {{ return 0; }}\n" for name in functions)
    source += f"long kernel_task_size(void) {{ return {size}; }}\n"
    (tmp_path / "older.c").write_text(source)
    command = [require_program("gcc"), "-shared", "-fPIC", "-o", "older.so", "older.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert kernel.load(str(tmp_path / "older.so")) is None


@pytest.mark.parametrize("code", ["cell", "loss", "rule"])
def test_a_code_that_the_library_does_not_know_is_an_error(code: str) -> None:
    engine = started()
    assert engine._kernel is not None
    for unknown in (0, 7):
        engine._kernel._settings[code] = unknown
        with pytest.raises(
            ConfigError, match=r"built from another kernel\.c; install the package again"
        ):
            train_epoch(engine, batches(1, 2)[0], np.ones(3))
        with pytest.raises(
            ConfigError, match=r"built from another kernel\.c; install the package again"
        ):
            validate(engine)


def test_a_row_that_is_not_there_is_an_error() -> None:
    engine = started()
    rows = batches(1, 2)[0]
    rows[0, 0, 0] = 23
    with pytest.raises(IndexError, match="no row 23: the stack has 23 windows"):
        train_epoch(engine, rows, np.full(3, 3e-3))


def test_rows_of_another_stack_are_refused() -> None:
    rows = batches(1, 2, models=4)[0]
    with pytest.raises(ArrayError, match="rows for 4 models; the stack has 3"):
        train_epoch(started(), rows, np.ones(4))


@pytest.mark.parametrize(
    ("name", "optimiser"), [("params", "sgd"), ("velocity", "sgd"), ("step", "adam")]
)
def test_a_state_of_another_stack_is_refused(name: str, optimiser: str) -> None:
    engine = started(optimiser=optimiser, momentum=0.9 if optimiser == "sgd" else 0)
    engine.state = engine.state | {name: engine.state[name][:2]}
    with pytest.raises(
        ArrayError, match=rf"{name} is a .* array of shape \(2.*; .* of shape \(3.* is expected"
    ):
        train_epoch(engine, batches(1, 2)[0], np.ones(3))


def test_activations_that_do_not_fit_into_memory_are_an_error() -> None:
    engine = started(seq_len=1000, hidden_size=1000, cell="lstm", batch=32, windows=32, models=1)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = engine.state
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, limits[1]))
    try:
        with pytest.raises(MemoryError, match="no memory for the activations of 32 windows"):
            train_epoch(engine, np.arange(32).reshape(1, 1, 32), np.array([3e-3]))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert all(
        value.tobytes() == before[name].tobytes()
        for name, value in engine.state.items()
        if name != "updates"
    )


def copy_of_the_sources(folder: Path) -> Path:
    for part in ("rnn_core", "flows"):
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.so")
        )
    for file in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder)
    return folder


def test_without_a_compiler_the_installation_succeeds_without_the_kernel(tmp_path: Path) -> None:
    folder = copy_of_the_sources(tmp_path)
    subprocess.run(
        BUILD, cwd=folder, env=os.environ | {"CC": "/nonexistent"}, check=True, capture_output=True
    )
    assert not list(folder.rglob("*.so"))
    code = (
        "from rnn_core.nn.engines import kernel;"
        f"assert kernel.__file__.startswith({str(folder)!r});"
        "print(kernel.available())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"


def test_the_installation_leaves_the_kernel_beside_its_source(tmp_path: Path) -> None:
    require_program("gcc")
    folder = copy_of_the_sources(tmp_path)
    subprocess.run(BUILD, cwd=folder, check=True, capture_output=True)
    (built,) = (folder / "rnn_core/nn/engines/kernel").glob("_kernel*.so")
    assert kernel.load(str(built)) is not None


def test_no_sanitizer_finds_anything_in_all_that_is_covered(tmp_path: Path) -> None:
    compiler, build = require_program("gcc"), tmp_path / "sanitized.so"
    source = ROOT / "rnn_core/nn/engines/kernel/kernel.c"
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(
        [
            compiler,
            "-g1",  # lines, for a report; to know more takes a quarter of the time to compile
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            *sanitizers,
            "-shared",
            "-fPIC",
            source,
            "-lm",
            "-o",
            build,
        ],
        check=True,
    )
    found = [compiler, "-print-file-name=libasan.so"]
    runtime = subprocess.run(found, check=True, capture_output=True, text=True).stdout.strip()
    environment = os.environ | {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": str(ROOT),
    }
    program = [sys.executable, str(Path(__file__).with_name("stacks.py")), str(build)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    assert done.stdout == "all were trained"

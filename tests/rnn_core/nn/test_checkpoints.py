"""Trained arrays on their way out and back."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from oracles import every, parts, random_params, relative_error

import rnn_core
from rnn_core.config import Evaluation, Model, Problem, Synthetic, Training
from rnn_core.data.folds import folds
from rnn_core.data.loading import load
from rnn_core.data.windows import windows
from rnn_core.errors import DataError
from rnn_core.nn import checkpoints
from rnn_core.nn.network import initial_params, network
from rnn_core.nn.settings import Cell
from rnn_core.nn.training import Checkpoint, Fit, fit


@pytest.fixture(scope="module")
def fitted() -> Fit:
    built = windows(Problem(), load(Synthetic(days=120), "TEST", datetime(2024, 6, 1, tzinfo=UTC)))
    walk = folds(Evaluation(train_days=50, valid_days=20, test_days=30), built)
    return fit(Model(cell="lstm", hidden_size=3), Training(epochs=2, seeds=2), built, walk)


def test_what_is_loaded_is_what_was_saved_bit_for_bit(fitted: Fit, tmp_path: Path) -> None:
    checkpoints.save(fitted, tmp_path / "fit.npz")
    loaded = checkpoints.load(tmp_path / "fit.npz")
    assert loaded.params.keys() == fitted.params.keys()
    for name, value in fitted.params.items():
        assert loaded.params[name].dtype == value.dtype
        assert loaded.params[name].tobytes() == value.tobytes()
    for name in ("center", "scale", "train_loss", "valid_loss", "frozen"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(fitted, name))
    assert asdict(loaded.model) == asdict(fitted.model)
    assert asdict(loaded.training) == asdict(fitted.training)


def test_class_weights_come_back_as_they_were(fitted: Fit, tmp_path: Path) -> None:
    weighted = replace(fitted, training=replace(fitted.training, class_weights=(1.0, 2.0)))
    checkpoints.save(weighted, tmp_path / "fit.npz")
    assert checkpoints.load(tmp_path / "fit.npz").training.class_weights == (1.0, 2.0)


def test_loading_a_fit_imports_no_pydantic(fitted: Fit, tmp_path: Path) -> None:
    checkpoints.save(fitted, tmp_path / "fit.npz")
    program = (
        "import sys; from pathlib import Path; from rnn_core.nn import checkpoints;"
        "checkpoints.load(Path('fit.npz')); print({'pydantic', 'pandas', 'scipy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_file_holds_no_pickle(fitted: Fit, tmp_path: Path) -> None:
    checkpoints.save(fitted, tmp_path / "fit.npz")
    with zipfile.ZipFile(tmp_path / "fit.npz") as archive:
        for name in archive.namelist():
            assert np.lib.format.read_array(archive.open(name), allow_pickle=False) is not None


def test_another_format_is_refused(fitted: Fit, tmp_path: Path) -> None:
    header = json.dumps({"format": 99})
    np.savez(tmp_path / "fit.npz", header=np.array(header))
    with pytest.raises(DataError, match=r"fit\.npz: format 99; this version reads 1"):
        checkpoints.load(tmp_path / "fit.npz")


# --- torch state dicts --------------------------------------------------------------------------------------------

IN_TORCH: dict[Cell, Callable[..., torch.nn.Module]] = {
    "rnn_tanh": torch.nn.RNN,
    "rnn_relu": partial(torch.nn.RNN, nonlinearity="relu"),
    "gru": torch.nn.GRU,
    "lstm": torch.nn.LSTM,
}


@pytest.mark.parametrize("cell", IN_TORCH)
def test_torchs_modules_load_one_model_of_a_stack_unmapped_and_give_the_same_output(cell: Cell) -> None:
    rng = np.random.default_rng(0)
    for option in every(num_layers=[1, 2], bidirectional=[False, True], bias=[True, False]):
        params = random_params(rng, cell, models=3, **option)
        module = IN_TORCH[cell](3, 4, batch_first=True, dtype=torch.float64, **option)
        net = {"cell": cell, "num_layers": option["num_layers"], "bidirectional": option["bidirectional"]}
        x = rng.normal(size=(3, 2, 5, 3))
        output, state, _ = rnn_core.recurrent(params, x, **net)
        for m in range(3):
            module.load_state_dict(rnn_core.to_torch_state_dict(params, m), strict=True)
            with torch.no_grad():
                expected, expected_state = module(torch.tensor(x[m]))
            assert relative_error(output[m], expected.numpy()) < 1e-13
            for part, wanted in zip(parts(state), parts(expected_state), strict=True):
                assert relative_error(part[m], wanted.numpy()) < 1e-13


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", IN_TORCH)
def test_a_state_dict_comes_back_bit_for_bit_as_a_stack_of_one(cell: Cell, dtype: str) -> None:
    params = random_params(np.random.default_rng(0), cell, models=3, num_layers=2, bidirectional=True, dtype=dtype)
    module = IN_TORCH[cell](3, 4, num_layers=2, bidirectional=True, dtype=getattr(torch, dtype))
    module.load_state_dict(rnn_core.to_torch_state_dict(params, model=1), strict=True)
    back = rnn_core.from_torch_state_dict(module.state_dict())
    assert list(back) == list(params)
    for name, value in back.items():
        assert value.dtype == dtype
        assert value.shape == (1, *params[name].shape[1:])
        assert value.tobytes() == params[name][1:2].tobytes()


def test_neither_conversion_shares_memory() -> None:
    params = random_params(np.random.default_rng(0), "gru")
    kept = {name: value.copy() for name, value in params.items()}
    module = torch.nn.GRU(3, 4, dtype=torch.float64)
    state_dict = rnn_core.to_torch_state_dict(params)
    module.load_state_dict(state_dict)
    back = rnn_core.from_torch_state_dict(module.state_dict())
    for tensor in (*state_dict.values(), *module.parameters()):
        tensor.data.zero_()
    for name, value in kept.items():
        assert params[name].tobytes() == back[name].tobytes() == value.tobytes()


@pytest.mark.parametrize("head", ["linear", "tanh"])
def test_a_whole_network_loads_into_a_module_with_a_head(head: Literal["linear", "tanh"]) -> None:
    class Network(torch.nn.GRU):
        """What a user of torch would write."""

        def __init__(self) -> None:
            super().__init__(3, 4, num_layers=2, batch_first=True, dtype=torch.float64)
            if head == "tanh":
                self.hidden = torch.nn.Linear(4, 4, dtype=torch.float64)
            self.head = torch.nn.Linear(4, 2, dtype=torch.float64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _, h_n = super().forward(x)
            return self.head(self.hidden(h_n[-1]).tanh() if head == "tanh" else h_n[-1])

    model = Model(cell="gru", hidden_size=4, num_layers=2, head=head)
    params = initial_params(model, 3, 2, [np.random.default_rng(m) for m in range(2)], "float64")
    x = np.random.default_rng(2).normal(size=(2, 5, 6, 3))
    logits, _ = network(params, x, model)
    module = Network()
    for m in range(2):
        module.load_state_dict(rnn_core.to_torch_state_dict(params, m), strict=True)
        with torch.no_grad():
            assert relative_error(logits[m, :, 0], module(torch.tensor(x[m])).numpy()) < 1e-13
    back = rnn_core.from_torch_state_dict(module.state_dict())
    assert back.keys() == params.keys()
    assert all(value.tobytes() == params[name][1:].tobytes() for name, value in back.items())


# --- checkpoints --------------------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_as_it_was_and_replaces_the_one_before(fitted: Fit, tmp_path: Path) -> None:
    streams = {"order": [np.random.default_rng(7).bit_generator.state]}
    first = Checkpoint(1, {"engine/params": np.ones((2, 3), "float32"), "history/best": np.array([np.nan, 1])}, streams)
    path = tmp_path / "checkpoint.npz"
    for checkpoint in (first, replace(first, epoch=2)):
        checkpoints.save_checkpoint(checkpoint, path)
        loaded = checkpoints.load_checkpoint(path)
        assert (loaded.epoch, loaded.streams) == (checkpoint.epoch, streams)
        assert loaded.arrays.keys() == first.arrays.keys()
        for name, value in first.arrays.items():
            assert loaded.arrays[name].dtype == value.dtype
            assert loaded.arrays[name].tobytes() == value.tobytes()
    assert [left.name for left in tmp_path.iterdir()] == ["checkpoint.npz"]
    np.savez(path, header=np.array(json.dumps({"format": 99})))
    with pytest.raises(DataError, match=r"checkpoint\.npz: format 99; this version reads 1"):
        checkpoints.load_checkpoint(path)

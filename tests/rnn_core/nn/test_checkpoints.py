"""Trained arrays on their way out and back."""

import json
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from rnn_core.config import Evaluation, Model, Problem, Synthetic, Training
from rnn_core.data.folds import folds
from rnn_core.data.loading import load
from rnn_core.data.windows import windows
from rnn_core.errors import DataError
from rnn_core.nn import checkpoints
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
        "checkpoints.load(Path('fit.npz'));"
        "print({'pydantic', 'pandas', 'scipy'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
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


# --- checkpoints ----------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_as_it_was_and_replaces_the_one_before(
    fitted: Fit, tmp_path: Path
) -> None:
    streams = {"order": [np.random.default_rng(7).bit_generator.state]}
    first = Checkpoint(
        1,
        {"engine/params": np.ones((2, 3), "float32"), "history/best": np.array([np.nan, 1])},
        streams,
    )
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

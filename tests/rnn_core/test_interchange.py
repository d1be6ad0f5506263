"""Trained arrays on their way out and back."""

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from rnn_core import interchange
from rnn_core.config import Evaluation, Model, Problem, Synthetic, Training
from rnn_core.errors import DataError
from rnn_core.folds import folds
from rnn_core.problems import windows
from rnn_core.sources import load
from rnn_core.training import Fit, fit


@pytest.fixture(scope="module")
def fitted() -> Fit:
    built = windows(Problem(), load(Synthetic(days=120), "TEST", datetime(2024, 6, 1, tzinfo=UTC)))
    walk = folds(Evaluation(train_days=50, valid_days=20, test_days=30), built)
    return fit(Model(cell="lstm", hidden_size=3), Training(epochs=2, seeds=2), built, walk)


def test_what_is_loaded_is_what_was_saved_bit_for_bit(fitted: Fit, tmp_path: Path) -> None:
    interchange.save(fitted, tmp_path / "fit.npz")
    loaded = interchange.load(tmp_path / "fit.npz")
    assert loaded.params.keys() == fitted.params.keys()
    for name, value in fitted.params.items():
        assert loaded.params[name].dtype == value.dtype
        assert loaded.params[name].tobytes() == value.tobytes()
    for name in ("center", "scale", "train_loss", "valid_loss", "frozen"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(fitted, name))
    assert loaded.model == fitted.model
    assert loaded.training == fitted.training


def test_the_file_holds_no_pickle(fitted: Fit, tmp_path: Path) -> None:
    interchange.save(fitted, tmp_path / "fit.npz")
    with zipfile.ZipFile(tmp_path / "fit.npz") as archive:
        for name in archive.namelist():
            assert np.lib.format.read_array(archive.open(name), allow_pickle=False) is not None


def test_another_format_is_refused(fitted: Fit, tmp_path: Path) -> None:
    header = json.dumps({"format": 99})
    np.savez(tmp_path / "fit.npz", header=np.array(header))
    with pytest.raises(DataError, match=r"fit\.npz: format 99; this version reads 1"):
        interchange.load(tmp_path / "fit.npz")

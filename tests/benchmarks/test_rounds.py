"""What is compared trains the same, and what is kept has the form that the figures read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import rounds
from benchmarks.rounds import Job, Row, compare, rnnflow, save, shortened
from benchmarks.seed_loop import first_network, loop
from benchmarks.torch_nn import direction, sine, torch_loop
from rnn_core.config import Model


def test_the_textbook_loop_goes_the_way_of_fit() -> None:
    variant = shortened(first_network(), 3)
    np.testing.assert_allclose(loop(variant)(), rnnflow(variant)(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_the_torch_loop_goes_the_way_of_fit(cell: str) -> None:
    variant = direction(64, epochs=2, batch_size=32, seeds=2, cell=cell)
    np.testing.assert_allclose(
        torch_loop(variant, models=2)(), rnnflow(variant)(), rtol=0, atol=1e-12
    )


def in_another_order(variant: Any) -> Job:
    return rnnflow(replace(variant, order=variant.order[..., ::-1]))


def test_rows_are_kept_beside_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RNNFLOW_KERNEL", "0")  # half of the processes
    monkeypatch.setattr(rounds, "RESULTS", tmp_path)
    variant = direction(64, epochs=2, batch_size=32)
    save("tiny", compare("tiny", variant, {"itself": rnnflow}, epochs=1, rounds=1))
    kept = json.loads((tmp_path / "tiny.json").read_text())
    assert {"processor", "cores", "instructions", "Python", "numpy", "torch"} == set(
        kept["machine"]
    )
    (row,) = kept["rows"]
    assert set(row) == set(Row.__annotations__)
    assert row["ratio"] > 0
    assert row["median_us"] > 0


def test_what_trains_something_else_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNFLOW_KERNEL", "0")
    with pytest.raises(AssertionError, match="tiny: other does not train what NumPy trains"):
        compare(
            "tiny",
            direction(64, epochs=1, batch_size=32),
            {"other": in_another_order},
            epochs=1,
            rounds=0,
        )


def test_the_sines_that_torch_is_given_are_made_as_asked() -> None:
    training = sine("sine-next-value", Model(hidden_size=2), {"epochs": 3}).training
    assert (training.dtype, training.schedule, training.epochs) == ("float32", "constant", 3)

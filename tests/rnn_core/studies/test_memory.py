"""The memory cell: a bit is kept, a step at a time is the whole, and torch hands back the same."""

import numpy as np
import pytest
from steps import run

from rnn_core.commands import Study
from rnn_core.studies.memory import STUDY, shapes
from rnn_core.studies.memory.cell import HIDDEN, STEPS
from rnn_core.studies.study import Finding, Trained


def study(**options: object) -> Study:
    return Study.model_validate({"name": "memory-cell"} | options)


@pytest.fixture(scope="module")
def found() -> tuple[Finding, dict[str, Trained]]:
    return run(STUDY, study())


def test_the_bit_comes_first_and_is_asked_for_last() -> None:
    sequences = STUDY.data(study())
    assert sequences.x.shape[1:] == (10, 4)
    assert ((sequences.x[:, 0, 0] == 1) == (sequences.y[:, 0, 0] == 1)).all()
    rest = np.delete(sequences.x.reshape(len(sequences), -1), 0, axis=1)
    assert np.abs(rest.T @ sequences.x[:, 0, 0]).max() / len(sequences) < 0.15


def test_all_three_networks_return_the_bit(found: tuple[Finding, dict[str, Trained]]) -> None:
    finding, _ = found
    for name in ("test/accuracy", "test/accuracy_deep", "test/accuracy_bidirectional"):
        assert finding.metrics[name] > 0.97, name


def test_one_unit_keeps_the_bit_and_its_forget_gate_is_open(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    finding, _ = found
    assert finding.metrics["memory/correlation"] > 0.95
    assert finding.metrics["memory/kept_from_step"] <= 3
    assert "keeps it: its cell state correlates" in finding.sentences[0]


def test_step_by_step_equals_the_whole_pass(found: tuple[Finding, dict[str, Trained]]) -> None:
    finding, _ = found
    assert 0 < finding.metrics["by_hand/largest_difference"] < 1e-12
    assert "the same up to rounding" in finding.sentences[2]


def test_an_input_of_nan_is_refused_and_the_words_are_shown(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    finding, _ = found
    assert "40 NaN or infinite values" in finding.sentences[2]


def test_every_shape_and_value_is_torchs(found: tuple[Finding, dict[str, Trained]]) -> None:
    finding, trained = found
    x = STUDY.data(study()).x[:3]
    rows = [row for name, one in trained.items() for row in shapes.compared(name, one, x)]
    expected = {
        ("one", "output"): (3, STEPS, HIDDEN),
        ("one", "h_n"): (1, 3, HIDDEN),
        ("one", "c_n"): (1, 3, HIDDEN),
        ("deep", "output"): (3, STEPS, HIDDEN),
        ("deep", "h_n"): (2, 3, HIDDEN),
        ("deep", "c_n"): (2, 3, HIDDEN),
        ("bidirectional", "output"): (3, STEPS, 2 * HIDDEN),
        ("bidirectional", "h_n"): (2, 3, HIDDEN),
        ("bidirectional", "c_n"): (2, 3, HIDDEN),
    }
    assert {(row.network, row.array): row.shape for row in rows} == expected
    assert {(row.network, row.array): row.torch_shape for row in rows} == expected
    assert finding.metrics["torch/largest_difference"] < 1e-13
    assert "9 have torch's shape and 9 torch's values" in finding.sentences[3]
    for (name, array), shape in expected.items():
        assert f"| {name} | {array} | {shape} | {shape} |" in finding.files["shapes.md"]


def test_without_torch_the_table_is_ours_alone(
    found: tuple[Finding, dict[str, Trained]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "find_spec", lambda name: None)
    finding = STUDY.finding(study(), STUDY.data(study()), found[1])
    assert "torch is not installed" in finding.sentences[3]
    assert "torch is not installed" in finding.files["shapes.md"]
    assert "torch/largest_difference" not in finding.metrics


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_untrained_cells_keep_nothing_and_the_korean_sentence_shows_it(engine: str) -> None:
    finding, _ = run(
        STUDY, study(size=0.05, language="ko", training={"epochs": 2, "engine": engine})
    )
    assert "혼자서는 비트를 간직하지 않는다" in finding.sentences[0]
    assert np.isfinite(list(finding.metrics.values())).all()

"""Sequences of any length: what can be told from how they move, and that padding tells nothing."""

import numpy as np
import pytest
from steps import run

from rnn_core.commands import Study
from rnn_core.nn.sequences import Sequences
from rnn_core.studies.lengths import CLASSES, KEPT, LONGEST, SHORTEST, STUDY
from rnn_core.studies.study import Finding, Trained

NAME = "classify-variable-length"


def study(**options: object) -> Study:
    return Study.model_validate({"name": NAME} | options)


@pytest.fixture(scope="module")
def found() -> tuple[Finding, dict[str, Trained]]:
    return run(STUDY, study(size=0.25))


def steps_of(sequences: Sequences) -> np.ndarray:
    return np.arange(LONGEST) < np.asarray(sequences.lengths)[:, None]


def test_a_step_by_itself_is_the_same_in_every_class() -> None:
    sequences = STUDY.data(study())
    classes, there = sequences.y[:, 0].argmax(axis=1), steps_of(sequences)
    for one in range(CLASSES):
        x = sequences.x[classes == one][there[classes == one]]
        assert np.abs(x.mean(axis=0)).max() < 0.05
        assert np.abs(np.cov(x.T) - np.eye(x.shape[1])).max() < 0.07


def test_the_classes_differ_in_how_one_step_follows_another() -> None:
    sequences = STUDY.data(study())
    classes, there = sequences.y[:, 0].argmax(axis=1), steps_of(sequences)[:, 1:]
    rotations = []
    for one in range(CLASSES):
        x, valid = sequences.x[classes == one], there[classes == one]
        before, after = x[:, :-1][valid], x[:, 1:][valid]
        rotations.append(np.linalg.lstsq(before, after, rcond=None)[0])
        np.testing.assert_allclose(np.linalg.svd(rotations[-1])[1], KEPT, atol=0.05)
    assert all(np.abs(a - b).max() > 0.3 for i, a in enumerate(rotations) for b in rotations[:i])


def test_lengths_run_from_the_shortest_to_the_longest_and_padding_holds_zeros() -> None:
    sequences = STUDY.data(study())
    lengths = np.asarray(sequences.lengths)
    assert (lengths.min(), lengths.max()) == (SHORTEST, LONGEST)
    assert not sequences.x[~steps_of(sequences)].any()


def test_the_longer_a_sequence_the_surer_its_class(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    finding, _ = found
    assert finding.metrics["baseline/majority_accuracy"] < 0.3
    assert finding.metrics["test/accuracy"] > 0.75
    assert finding.metrics["test/accuracy_long"] > finding.metrics["test/accuracy_short"] + 0.15
    assert "takes time to see" in finding.sentences[0]


def test_other_padding_changes_no_bit(found: tuple[Finding, dict[str, Trained]]) -> None:
    finding, _ = found
    assert finding.metrics["test/changed_by_random_padding"] == 0
    assert finding.metrics["test/changed_by_nan_padding"] == 0
    assert "changes no bit" in finding.sentences[1]


def test_padding_that_leaks_would_show_in_the_sentences(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    class Leaking(Trained):
        @property
        def logits(self) -> np.ndarray:
            return super().logits + 1

    network = found[1]["network"]
    leaking = Leaking(network.variant, network.fit, network.seconds)
    finding = STUDY.finding(study(size=0.25), network.variant.sequences, {"network": leaking})
    assert finding.metrics["test/changed_by_random_padding"] > 0
    assert "padding leaks" in finding.sentences[1]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_it_runs_small_with_either_engine_and_in_korean(engine: str) -> None:
    finding, _ = run(
        STUDY, study(size=0.05, language="ko", training={"epochs": 2, "engine": engine})
    )
    assert np.isfinite(list(finding.metrics.values())).all()
    assert "한 비트도 달라지지 않는다" in finding.sentences[1]

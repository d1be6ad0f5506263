"""Engines agree, and a difference would show in the sentences."""

from dataclasses import replace

import numpy as np
import pytest
from steps import run

from rnn_core.commands import Study
from rnn_core.studies.agreement import STUDY

SMALL = {"name": "engines-agree", "size": 0.2, "training": {"epochs": 4}}


@pytest.mark.parametrize("language", ["en", "ko"])
def test_both_engines_learn_the_same(language: str) -> None:
    finding, trained = run(STUDY, Study.model_validate(SMALL | {"language": language}))
    assert list(trained) == ["numpy", "torch"]
    assert [one.fit.training.engine for one in trained.values()] == ["numpy", "torch"]
    assert 0 < finding.metrics["difference/loss"] < 1e-10
    assert 0 < finding.metrics["difference/params"] < 1e-9
    assert {"en": "are the same", "ko": "기울기는 같다"}[language] in finding.sentences[0]


def test_a_difference_shows_in_the_sentences() -> None:
    study = Study.model_validate(SMALL)
    _, trained = run(STUDY, study)
    fit = trained["torch"].fit
    trained["torch"] = replace(trained["torch"], fit=replace(fit, train_loss=fit.train_loss + 1e-3))
    finding = STUDY.finding(study, STUDY.data(study), trained)
    assert finding.metrics["difference/loss"] == pytest.approx(1e-3, rel=1e-6)
    assert "more than rounding" in finding.sentences[0]
    assert np.isfinite(list(finding.metrics.values())).all()

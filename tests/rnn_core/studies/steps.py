"""Run the steps of a study one after the other, as the flow does."""

import warnings
from io import BytesIO
from time import perf_counter

from rnn_core.commands import Study
from rnn_core.nn.training import fit
from rnn_core.reporting import figures
from rnn_core.studies.study import Finding, Steps, Trained


def run(steps: Steps, study: Study) -> tuple[Finding, dict[str, Trained]]:
    """Run a study, and draw its figures; a letter without a glyph is an error."""
    data, trained = steps.data(study), {}
    for name, v in steps.variants(study, data).items():
        before = perf_counter()
        fitted = fit(v.model, v.training, v.sequences, v.folds, params0=v.params0, order=v.order)
        trained[name] = Trained(v, fitted, perf_counter() - before)
    with figures.style():
        finding = steps.finding(study, data, trained)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in finding.figures.values():
            figure.savefig(BytesIO())
    return finding, trained

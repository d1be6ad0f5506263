"""`fit` against the per-sample NumPy loop of the textbooks, at the textbooks' own setting.

Hidden 16, T 10, batch 1, SGD, gradients clipped to ±5, 231 windows, 600 epochs, float64: the study
`direction-from-scratch` on raw returns. The kernel is timed over all epochs, NumPy and the loop
over the first few. The loop also runs all epochs once: all 600 losses must be ours to 1e-9.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import per_sample_loop
from benchmarks.rounds import SAME, Job, compare, rnnflow, save
from rnn_core.commands import Study
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Folds
from rnn_core.studies import direction
from rnn_core.studies.study import Variant

EPOCHS = 40  # of a round


def first_network() -> Variant:
    """The study's first network, by itself."""
    study = Study(name="direction-from-scratch")
    both = direction.variants(study, direction.data(study))["network"]
    start: Any = both.params0
    order: Any = both.order
    folds = Folds(both.folds.train[:1], both.folds.valid[:1], both.folds.test[:1])
    params0 = {name: value[:1] for name, value in start.items()}
    return replace(both, folds=folds, params0=params0, order=order[:, :1])


def loop(variant: Any) -> Job:
    """The textbooks' loop from the same start in the same order.

    Its bias is our weight of an input that is 1.
    """
    training = variant.training
    params0 = {name: value[0] for name, value in variant.params0.items()}
    x = variant.sequences.x[:, :, 0]
    y = variant.sequences.y[:, 0, 0]
    order = variant.order[:, 0]
    weight_x, bias = np.split(params0["weight_ih_l0"], 2, axis=1)
    start = {
        "Wx": weight_x,
        "Wh": params0["weight_hh_l0"],
        "Wy": params0["head.weight"],
        "bh": bias,
        "by": params0["head.bias"][:, None],
    }

    def job() -> Array:
        losses = per_sample_loop.train(
            x, y, order, start, training.learning_rate, training.clip_value
        )
        return losses[None]

    return job


def main() -> list[str]:
    variant = first_network()
    rows = compare("batch 1, SGD", variant, {"per-sample-loop": loop}, epochs=EPOCHS)
    ours = rnnflow(variant)()
    theirs = loop(variant)()
    np.testing.assert_allclose(
        theirs, ours, rtol=0, atol=SAME["float64"], err_msg="the trajectories part"
    )
    apart = np.abs(theirs - ours).max()
    print(f"the losses of all {theirs.shape[1]} epochs are at most {apart:.1g} nats apart")
    save("seed-loop", rows)
    return []

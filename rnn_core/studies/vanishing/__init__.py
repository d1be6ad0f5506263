"""The vanishing gradient: how far it reaches, what gates change, and when clipping helps."""

import numpy as np

from rnn_core.commands import Study
from rnn_core.config import Model
from rnn_core.evaluation import names
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.network import initial_params, split
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.studies.study import (
    Finding,
    Steps,
    Trained,
    Variant,
    Variants,
    examples,
    sayer,
    training,
)
from rnn_core.studies.vanishing.figures import by_lag_figure, inputs_figure, losses_figure
from rnn_core.studies.vanishing.reach import (
    HIDDEN,
    LENGTHS,
    LONGEST,
    RADII,
    Reach,
    jacobian_product,
    lost_at,
    reach,
    relative_difference,
    tanh_name,
)
from rnn_core.studies.vanishing.sentences import (
    RECALL,
    accuracy,
    markdown,
    of_clip,
    of_gates,
    of_lags,
    of_product,
)

TRAIN = 1000
TEST = 500
EPOCHS = 40
RATE = 2.0
STREAM = 13  # of weights and sequences, with the study's seed
NOISE = 0.1  # standard deviation of the inputs


def data(study: Study) -> Sequences:
    """Return 30 steps of noise after a first step of −1 or 1; the target is that sign."""
    rng = np.random.default_rng([STREAM, study.training.seed])
    count = examples(study, TRAIN) + examples(study, TEST)
    x = NOISE * rng.normal(size=(count, RECALL, 1))
    x[:, 0, 0] = rng.choice([-1.0, 1.0], count)
    return Sequences(x, (x[:, :1] > 0).astype(float), np.ones((count, 1), bool), raw=True)


def variants(study: Study, sequences: Sequences) -> Variants:
    """Return tanh networks, one for each radius, trained with clipped gradients and without."""
    folds = holdout(examples(study, TRAIN), 0, examples(study, TEST))
    sgd = {"epochs": EPOCHS, "optimiser": "sgd", "learning_rate": RATE, "seeds": len(RADII)}
    clipped = training(study, **sgd, clip_norm=1.0)
    unclipped = training(study, **sgd)
    start = _vanilla(study)
    model = Model(hidden_size=HIDDEN)
    return {
        "clipped": Variant(model, clipped, sequences, folds, start),
        "unclipped": Variant(model, unclipped, sequences, folds, start),
    }


def _vanilla(study: Study) -> Params:
    """Return a stack of tanh networks that differ only in the spectral radius of W_hh."""
    rng = np.random.default_rng([STREAM, study.training.seed, 1])
    single = initial_params(Model(hidden_size=HIDDEN), 1, 1, [rng], "float64")
    stack = {name: np.repeat(value, len(RADII), axis=0) for name, value in single.items()}
    w = rng.normal(size=(HIDDEN, HIDDEN))
    w /= np.abs(np.linalg.eigvals(w)).max()
    stack["weight_hh_l0"] = np.array(RADII)[:, None, None] * w
    return stack


def finding(study: Study, sequences: Sequences, trained: dict[str, Trained]) -> Finding:
    """Measure where gradients vanish at the start, and how training fares with the clip."""
    say = sayer(study)
    rng = np.random.default_rng([STREAM, study.training.seed, 2])
    x = NOISE * rng.normal(size=(LONGEST, 1))
    networks = _networks(study)
    reaches = {name: _by_length(*network, x) for name, network in networks.items()}
    longest = {name: by_length[LONGEST] for name, by_length in reaches.items()}
    products = {name: jacobian_product(networks[name][1], x) for name in map(tanh_name, RADII)}
    clipped = trained["clipped"]
    unclipped = trained["unclipped"]
    metrics = _metrics(clipped, unclipped, longest, products)
    sentences = (
        of_lags(longest, say),
        of_gates(longest, say),
        of_product(metrics["difference/jacobian_product"], say),
        of_clip(clipped, unclipped, say),
    )
    figures = {
        "gradients.png": by_lag_figure(longest, products, say),
        "inputs.png": inputs_figure(longest, say),
        "clipping.png": losses_figure(clipped, unclipped, say),
    }
    return Finding(sentences, metrics, figures, {"gradients.md": markdown(reaches, say)})


def _by_length(model: Model, params: Params, x: Array) -> dict[int, Reach]:
    """Return the reach over the first steps of x, for each of the lengths."""
    return {length: reach(model, params, x[:length]) for length in LENGTHS}


def _metrics(
    clipped: Trained, unclipped: Trained, longest: dict[str, Reach], products: dict[str, Array]
) -> dict[str, float]:
    apart = [relative_difference(longest[name].state, norms) for name, norms in products.items()]
    metrics = {
        names.ACCURACY: float(accuracy(clipped).mean()),
        "test/accuracy_unclipped": float(accuracy(unclipped).mean()),
        "difference/jacobian_product": max(apart),
    }
    for name, reached in longest.items():
        metrics[f"gradient/{name.replace(' ', '_')}"] = float(reached.state[-1])
    for name, lag in lost_at(longest).items():
        metrics[f"lost_at_lag/{name.replace(' ', '_')}"] = float(lag)
    return metrics


def _networks(study: Study) -> dict[str, tuple[Model, Params]]:
    """Return a network of each kind at its start, by name: model and recurrent parameters."""
    stack = _vanilla(study)
    networks = {}
    for m, radius in enumerate(RADII):
        params = {name: value[[m]] for name, value in stack.items()}
        networks[tanh_name(radius)] = Model(hidden_size=HIDDEN), split(params)[""]
    gated = {
        "GRU": Model(cell="gru", hidden_size=HIDDEN),
        "LSTM": Model(cell="lstm", hidden_size=HIDDEN, forget_bias=0.0),
        "LSTM forget 1": Model(cell="lstm", hidden_size=HIDDEN, forget_bias=1.0),
    }
    for name, model in gated.items():
        rng = np.random.default_rng([STREAM, study.training.seed, 3])
        params = initial_params(model, 1, 1, [rng], "float64")
        networks[name] = model, split(params)[""]
    return networks


STUDY = Steps(data, variants, finding)

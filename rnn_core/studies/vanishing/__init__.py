"""How far back a gradient reaches: the product of Jacobians, what gates change about it, and what clipping saves."""

import numpy as np

from rnn_core.commands import Study
from rnn_core.config import Model
from rnn_core.evaluation import names
from rnn_core.nn.arrays import Params
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
    RADII,
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
STREAM = 13  # of weights and sequences, beside the study's seed


def data(study: Study) -> Sequences:
    """Recall: the first of 30 steps is −1 or 1, the others are noise of a tenth; at the end that sign is asked for."""
    rng = np.random.default_rng([STREAM, study.training.seed])
    count = examples(study, TRAIN) + examples(study, TEST)
    x = 0.1 * rng.normal(size=(count, RECALL, 1))
    x[:, 0, 0] = rng.choice([-1.0, 1.0], count)
    return Sequences(x, (x[:, :1] > 0).astype(float), np.ones((count, 1), bool), raw=True)


def variants(study: Study, sequences: Sequences) -> Variants:
    """Networks of tanh from each radius, with the norm of their gradients clipped and not."""
    folds = holdout(examples(study, TRAIN), 0, examples(study, TEST))
    sgd = {"epochs": EPOCHS, "optimiser": "sgd", "learning_rate": RATE, "seeds": len(RADII)}
    vanilla, start = Model(hidden_size=HIDDEN), _vanilla(study)
    return {
        "clipped": Variant(vanilla, training(study, **sgd, clip_norm=1.0), sequences, folds, start),
        "unclipped": Variant(vanilla, training(study, **sgd), sequences, folds, start),
    }


def _lstm(forget_bias: float) -> Model:
    return Model(cell="lstm", hidden_size=HIDDEN, forget_bias=forget_bias)


def _vanilla(study: Study) -> Params:
    """A stack of tanh networks, alike but for the spectral radius of W_hh: one for each of the radii."""
    rng = np.random.default_rng([STREAM, study.training.seed, 1])
    one = initial_params(Model(hidden_size=HIDDEN), 1, 1, [rng], "float64")
    stack = {name: np.repeat(value, len(RADII), axis=0) for name, value in one.items()}
    w = rng.normal(size=(HIDDEN, HIDDEN))
    w /= np.abs(np.linalg.eigvals(w)).max()
    stack["weight_hh_l0"] = np.array(RADII)[:, None, None] * w
    return stack


def finding(study: Study, sequences: Sequences, trained: dict[str, Trained]) -> Finding:
    """Where gradients vanish at the start values, and how training fares without and with the clip."""
    say, rng = sayer(study), np.random.default_rng([STREAM, study.training.seed, 2])
    x = 0.1 * rng.normal(size=(max(LENGTHS), 1))
    networks = _networks(study)
    reaches = {
        name: {length: reach(model, params, x[:length]) for length in LENGTHS}
        for name, (model, params) in networks.items()
    }
    longest = {name: by_length[max(LENGTHS)] for name, by_length in reaches.items()}
    products = {name: jacobian_product(networks[name][1], x) for name in map(tanh_name, RADII)}
    apart = max(
        relative_difference(longest[name].state, product) for name, product in products.items()
    )
    clipped, unclipped = trained["clipped"], trained["unclipped"]
    metrics = {
        names.ACCURACY: float(accuracy(clipped).mean()),
        "test/accuracy_unclipped": float(accuracy(unclipped).mean()),
        "difference/jacobian_product": apart,
        **{
            f"gradient/{name.replace(' ', '_')}": float(one.state[-1])
            for name, one in longest.items()
        },
        **{
            f"lost_at_lag/{name.replace(' ', '_')}": float(at)
            for name, at in lost_at(longest).items()
        },
    }
    sentences = (
        of_lags(longest, say),
        of_gates(longest, say),
        of_product(apart, say),
        of_clip(clipped, unclipped, say),
    )
    figures = {
        "gradients.png": by_lag_figure(longest, products, say),
        "inputs.png": inputs_figure(longest, say),
        "clipping.png": losses_figure(clipped, unclipped, say),
    }
    return Finding(sentences, metrics, figures, {"gradients.md": markdown(reaches, say)})


def _networks(study: Study) -> dict[str, tuple[Model, Params]]:
    """One network of each kind at its start values: the recurrent parameters by name, as a stack of one."""
    stack = _vanilla(study)
    networks = {
        tanh_name(radius): (
            Model(hidden_size=HIDDEN),
            {name: value[[m]] for name, value in stack.items()},
        )
        for m, radius in enumerate(RADII)
    }
    for name, model in (
        ("GRU", Model(cell="gru", hidden_size=HIDDEN)),
        ("LSTM", _lstm(0.0)),
        ("LSTM forget 1", _lstm(1.0)),
    ):
        rng = np.random.default_rng([STREAM, study.training.seed, 3])
        networks[name] = model, initial_params(model, 1, 1, [rng], "float64")
    return {name: (model, split(params)[""]) for name, (model, params) in networks.items()}


STUDY = Steps(data, variants, finding)

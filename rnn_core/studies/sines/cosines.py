"""The cosine of a sine: asked for at once, with a delay, or of a network that reads both ways."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from rnn_core.commands import Study
from rnn_core.config import Model, Training
from rnn_core.nn import settings
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.network import initial_params, network
from rnn_core.nn.sequences import Sequences
from rnn_core.nn.training import Fit
from rnn_core.reporting.figures import DARK_GREY, RED, Figure, Say
from rnn_core.studies.sines.figures import annotate, answers_figure, errors_figure, future_figure
from rnn_core.studies.sines.sentences import of_both_ways, of_delayed, of_synced, of_twins
from rnn_core.studies.sines.waves import (
    DELAY,
    SEEN,
    STEPS,
    Outcome,
    Waves,
    generator,
    outcome_of,
    scored,
    spliced,
)
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

TRAIN = 8192
TEST = 1024
PERIODS = 2, 4  # in a sequence, at least and at most
GRAPH_STEPS = 3
EPOCHS = 100
UPDATES = 4  # in an epoch, whatever `study.size`
ANSWERS = Model(hidden_size=32, head="tanh", readout="steps", init="orthogonal")


def data(study: Study) -> Waves:
    """Return inputs sin(ωt + φ) with targets cos(ωt + φ) at every step, ω and φ drawn for each."""
    train = examples(study, TRAIN)
    shape = train + examples(study, TEST), 1
    random = generator(study)
    periods = random.uniform(*PERIODS, shape)
    phase = random.uniform(0, 2 * np.pi, shape)
    angle = phase + 2 * np.pi * periods * np.arange(STEPS) / STEPS
    return scored(np.sin(angle), np.cos(angle), train)


def _training(study: Study, waves: Waves) -> Training:
    """Return the training with a fixed number of updates in an epoch, for few examples or many.

    At full size a batch has 2,048 rows.
    """
    return training(
        study,
        dtype="float32",
        epochs=EPOCHS,
        batch_size=-(-waves.train // UPDATES),
        learning_rate=0.02,
        schedule="cosine",
        clip_norm=1.0,
    )


def synced_variants(study: Study, waves: Waves) -> Variants:
    """Return one network that is asked for the cosine at once."""
    training = _training(study, waves)
    return {"synced": Variant(ANSWERS, training, waves.sequences, waves.folds)}


def synced_finding(study: Study, waves: Waves, trained: dict[str, Trained]) -> Finding:
    """Measure the error by step, and find two waves that show why the first step fails."""
    say = sayer(study)
    synced = outcome_of(trained["synced"])
    ignorant = _ignorant(synced)
    first = waves.sequences.x[waves.folds.test[0], 0, 0]
    metrics = _metrics(synced) | {"baseline/zero_mse_first_step": ignorant}
    sentences = (of_synced(synced, ignorant, say), of_twins(synced, first, say))
    title = say("The cosine, asked for at once", "곧바로 묻는 코사인")
    figures = {
        "errors.png": _synced_errors(title, synced, ignorant, say),
        "answers.png": answers_figure(title, synced, say),
    }
    return Finding(sentences, metrics, figures, _graph(trained["synced"].fit))


def _synced_errors(title: str, synced: Outcome, ignorant: float, say: Say) -> Figure:
    figure = errors_figure(title, {say("asked at once", "곧바로 물음"): synced}, ignorant, say)
    question = say(
        "After one value: does the wave rise or fall?", "값 하나만 보고: 파동이 오르는가, 내리는가?"
    )
    annotate(figure, f"← {question}", (0.03, 0.93), DARK_GREY)
    return figure


def _ignorant(outcome: Outcome) -> float:
    """Return the mean squared error at the first step of the answer 0 for every wave."""
    return float((outcome.targets[:, 0] ** 2).mean())


def _metrics(outcome: Outcome) -> dict[str, float]:
    return {
        "test/mse": outcome.mse,
        "test/mse_first_step": outcome.first,
        "test/mse_second_half": outcome.later,
    }


def _graph(fit: Fit) -> dict[str, str]:
    """Return the computation of a few steps in DOT, if torch and torchviz are installed."""
    if find_spec("torch") is None or find_spec("torchviz") is None:
        return {}
    from rnn_core.nn.torch_bridge import graph

    return {"graph.dot": graph(fit.model, fit.params, 1, GRAPH_STEPS)}


def delayed_variants(study: Study, waves: Waves) -> Variants:
    """Return one network asked for each cosine `DELAY` steps later, and one asked at once.

    Both start from the same parameters.
    """
    training = _training(study, waves)
    now = waves.sequences
    # The targets that np.roll moves round to the first steps are not scored
    mask = now.mask & (np.arange(STEPS) >= DELAY)
    later = Sequences(now.x, np.roll(now.y, DELAY, axis=1), mask, loss=now.loss, raw=True)
    return {
        "delayed": Variant(ANSWERS, training, later, waves.folds),
        "synced": Variant(ANSWERS, training, now, waves.folds),
    }


def delayed_finding(study: Study, waves: Waves, trained: dict[str, Trained]) -> Finding:
    """Compare the errors of cosines that are asked for later with those asked for at once."""
    say = sayer(study)
    delayed = outcome_of(trained["delayed"])
    synced = outcome_of(trained["synced"])
    metrics = _metrics(delayed)
    metrics |= {f"{name}_synced": value for name, value in _metrics(synced).items()}
    title = say(f"The cosine, asked for {DELAY} steps later", f"{DELAY}시점 뒤에 묻는 코사인")
    later = say(f"asked {DELAY} steps later", f"{DELAY}시점 뒤에 물음")
    at_once = say("asked at once", "곧바로 물음")
    by_step = delayed._replace(errors=delayed.errors[DELAY:])  # by the step whose cosine it is
    outcomes = {later: by_step, at_once: synced}
    figures = {
        "errors.png": errors_figure(title, outcomes, _ignorant(synced), say),
        "answers.png": answers_figure(title, delayed, say, DELAY),
    }
    return Finding(of_delayed(delayed, synced, say), metrics, figures)


def bidirectional_variants(study: Study, waves: Waves) -> Variants:
    """Return one network that reads a sequence both ways before it answers."""
    model = replace(ANSWERS, bidirectional=True)
    training = _training(study, waves)
    return {"bidirectional": Variant(model, training, waves.sequences, waves.folds)}


def bidirectional_finding(study: Study, waves: Waves, trained: dict[str, Trained]) -> Finding:
    """Measure the error by step, and how far the answers depend on later inputs."""
    say = sayer(study)
    both = outcome_of(trained["bidirectional"])
    fit = trained["bidirectional"].fit
    ignorant = _ignorant(both)
    x = waves.sequences.x[waves.folds.test[0]]
    answers, altered = _with_another_future(fit.model, fit.params, x)
    change = _change(answers, altered)
    # Only the direction of reading matters here, so this network is not trained
    start = initial_params(ANSWERS, 1, 1, [generator(study)], "float32")
    change_one_way = _change(*_with_another_future(ANSWERS, start, x))
    metrics = _metrics(both) | {
        "baseline/zero_mse_first_step": ignorant,
        "test/change_by_future_inputs": change,
        "test/change_by_future_inputs_one_way": change_one_way,
    }
    figures = {
        "errors.png": _both_ways_errors(both, ignorant, change > change_one_way, say),
        "future.png": future_figure(x, answers, altered, say),
    }
    sentences = of_both_ways(both, ignorant, change, change_one_way, say)
    return Finding(sentences, metrics, figures)


def _both_ways_errors(both: Outcome, ignorant: float, sees_future: bool, say: Say) -> Figure:
    title = say("The cosine, read in both directions", "양방향으로 읽는 코사인")
    name = say("read both ways", "양방향으로 읽음")
    figure = errors_figure(title, {name: both}, ignorant, say)
    if sees_future:
        warning = say(
            "Every output has seen its future:\nnever use this to forecast.",
            "모든 출력이 이미 미래를 보았다.\n예측(forecasting)에 절대 쓰지 말 것.",
        )
        annotate(figure, warning, (0.2, 0.85), RED)
    return figure


def _with_another_future(model: settings.Model, params: Params, x: Array) -> tuple[Array, Array]:
    """Return the answers (s, S) to x (s, T, I), and to x with another future after `SEEN` steps."""
    before, after = (
        network(params, inputs[None].astype(np.float32), model)[0][0, :, :, 0]
        for inputs in (x, spliced(x))
    )
    return before, after


def _change(answers: Array, altered: Array) -> float:
    """Return the largest change of an answer up to the step `SEEN`."""
    return float(np.abs(altered - answers)[:, :SEEN].max())


SYNCED = Steps(data, synced_variants, synced_finding)
DELAYED = Steps(data, delayed_variants, delayed_finding)
BIDIRECTIONAL = Steps(data, bidirectional_variants, bidirectional_finding)

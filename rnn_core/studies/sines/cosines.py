"""The cosine of a sine, told at every step, with a delay, or read both ways."""

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
from rnn_core.reporting.figures import (
    RED,
)
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

PERIODS = 2, 4  # in a sequence, at least and at most
GRAPH_STEPS = 3
EPOCHS = 100
UPDATES = 4  # in an epoch of the studies that answer at every step, whatever `study.size`
ANSWERS = Model(hidden_size=32, head="tanh", readout="steps", init="orthogonal")


def data(study: Study) -> Waves:
    """sin(ωt + φ) as input and cos(ωt + φ) as target of every step, each with its own ω and φ."""
    train, test = examples(study, 8192), examples(study, 1024)
    random, shape = generator(study), (train + test, 1)
    periods, phase = random.uniform(*PERIODS, shape), random.uniform(0, 2 * np.pi, shape)
    angle = phase + 2 * np.pi * periods * np.arange(STEPS) / STEPS
    return scored(np.sin(angle), np.cos(angle), train)


def _training(study: Study, waves: Waves, epochs: int) -> Training:
    """As many updates in an epoch of few examples as in one of many, 2,048 rows each at full size."""
    return training(
        study,
        dtype="float32",
        epochs=epochs,
        batch_size=-(-waves.train // UPDATES),
        learning_rate=0.02,
        schedule="cosine",
        clip_norm=1.0,
    )


def synced_variants(study: Study, waves: Waves) -> Variants:
    """One network that is asked for the cosine at once."""
    return {
        "synced": Variant(ANSWERS, _training(study, waves, EPOCHS), waves.sequences, waves.folds)
    }


def synced_finding(study: Study, waves: Waves, trained: dict[str, Trained]) -> Finding:
    """The error by step, and two waves that show why the first step is missed."""
    say, synced = sayer(study), outcome_of(trained["synced"])
    ignorant = float((synced.targets[:, 0] ** 2).mean())
    first = waves.sequences.x[waves.folds.test[0], 0, 0]
    metrics = _metrics(synced) | {"baseline/zero_mse_first_step": ignorant}
    title = say("The cosine, asked for at once", "곧바로 묻는 코사인")
    errors = errors_figure(title, {say("asked at once", "곧바로 물음"): synced}, ignorant, say)
    note = say(
        "After one value: does the wave rise or fall?", "값 하나만 보고: 파동이 오르는가, 내리는가?"
    )
    annotate(errors, f"← {note}", (0.03, 0.93), "0.35")
    figures = {"errors.png": errors, "answers.png": answers_figure(title, synced, say)}
    sentences = (of_synced(synced, ignorant, say), of_twins(synced, first, say))
    return Finding(sentences, metrics, figures, _graph(trained["synced"].fit))


def _metrics(outcome: Outcome) -> dict[str, float]:
    return {
        "test/mse": outcome.mse,
        "test/mse_first_step": outcome.first,
        "test/mse_second_half": outcome.later,
    }


def _graph(fit: Fit) -> dict[str, str]:
    """The computation of a few steps in DOT, where torch and torchviz are there to trace it."""
    if find_spec("torch") is None or find_spec("torchviz") is None:
        return {}
    from rnn_core.nn.engines.torch_engine import graph

    return {"graph.dot": graph(fit.model, fit.params, 1, GRAPH_STEPS)}


def delayed_variants(study: Study, waves: Waves) -> Variants:
    """The same network from the same start, asked for each cosine `DELAY` steps later, and at once."""
    own, now = _training(study, waves, EPOCHS), waves.sequences
    mask = now.mask & (
        np.arange(STEPS) >= DELAY
    )  # what np.roll brings round to the first steps is not scored
    later = Sequences(now.x, np.roll(now.y, DELAY, axis=1), mask, loss=now.loss, raw=True)
    return {
        name: Variant(ANSWERS, own, sequences, waves.folds)
        for name, sequences in (("delayed", later), ("synced", now))
    }


def delayed_finding(study: Study, waves: Waves, trained: dict[str, Trained]) -> Finding:
    """The error of each cosine when it is asked for later, beside that when it is asked for at once."""
    say, delayed, synced = (
        sayer(study),
        outcome_of(trained["delayed"]),
        outcome_of(trained["synced"]),
    )
    ignorant = float((synced.targets[:, 0] ** 2).mean())
    metrics = _metrics(delayed) | {
        f"{name}_synced": value for name, value in _metrics(synced).items()
    }
    title = say(f"The cosine, asked for {DELAY} steps later", f"{DELAY}스텝 뒤에 묻는 코사인")
    names = (
        say(f"asked {DELAY} steps later", f"{DELAY}스텝 뒤에 물음"),
        say("asked at once", "곧바로 물음"),
    )
    aligned = delayed._replace(errors=delayed.errors[DELAY:])  # by the step whose cosine it is
    errors = errors_figure(title, dict(zip(names, (aligned, synced), strict=True)), ignorant, say)
    figures = {"errors.png": errors, "answers.png": answers_figure(title, delayed, say, DELAY)}
    return Finding(of_delayed(delayed, synced, say), metrics, figures)


def bidirectional_variants(study: Study, waves: Waves) -> Variants:
    """One network that reads a sequence both ways before it is asked for the cosine of every step."""
    model = replace(ANSWERS, bidirectional=True)
    return {
        "bidirectional": Variant(
            model, _training(study, waves, EPOCHS), waves.sequences, waves.folds
        )
    }


def bidirectional_finding(study: Study, waves: Waves, trained: dict[str, Trained]) -> Finding:
    """The error by step, and how far the answers depend on inputs that come after them."""
    say, both, fit = (
        sayer(study),
        outcome_of(trained["bidirectional"]),
        trained["bidirectional"].fit,
    )
    ignorant = float((both.targets[:, 0] ** 2).mean())
    x = waves.sequences.x[waves.folds.test[0]]
    answers, altered = _with_another_future(fit.model, fit.params, x)
    start = initial_params(
        ANSWERS, 1, 1, [generator(study)], "float32"
    )  # its order of reading is all that matters
    change, one_way = (
        float(np.abs(after - before)[:, :SEEN].max())
        for before, after in ((answers, altered), _with_another_future(ANSWERS, start, x))
    )
    metrics = _metrics(both) | {
        "baseline/zero_mse_first_step": ignorant,
        "test/change_by_future_inputs": change,
        "test/change_by_future_inputs_one_way": one_way,
    }
    title = say("The cosine, read in both directions", "양방향으로 읽는 코사인")
    errors = errors_figure(title, {say("read both ways", "양방향으로 읽음"): both}, ignorant, say)
    if change > one_way:
        warning = say(
            "Every output has seen its future:\nnever use this to forecast.",
            "모든 출력이 이미 미래를 보았다.\n예측(forecasting)에 절대 쓰지 말 것.",
        )
        annotate(errors, warning, (0.2, 0.85), RED)
    figures = {"errors.png": errors, "future.png": future_figure(x, answers, altered, say)}
    return Finding(of_both_ways(both, ignorant, change, one_way, say), metrics, figures)


def _with_another_future(model: settings.Model, params: Params, x: Array) -> tuple[Array, Array]:
    """Answers (s, S) to x (s, T, I), as it is and with another sequence's inputs behind the first `SEEN` steps."""
    other = spliced(x)
    before, after = (
        network(params, each[None].astype(np.float32), model)[0][0, :, :, 0] for each in (x, other)
    )
    return before, after


SYNCED = Steps(data, synced_variants, synced_finding)
DELAYED = Steps(data, delayed_variants, delayed_finding)
BIDIRECTIONAL = Steps(data, bidirectional_variants, bidirectional_finding)

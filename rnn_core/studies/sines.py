"""Sines: the next value of a wave; and how fast it rises, told at every step, with a delay, or read both ways.

The derivative of sin(ωt + φ) by its phase is cos(ωt + φ). A network that is shown the sine step by step cannot know the
cosine at the first one: a rising and a falling wave pass through the same value. What can be done about that is the
matter of the last three lessons.
"""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from rnn_core.config import Model, Study, Training
from rnn_core.evaluation.baselines import regression_baselines
from rnn_core.nn import settings
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.network import initial_params, network
from rnn_core.nn.sequences import Folds, Sequences, holdout
from rnn_core.nn.training import Fit
from rnn_core.reporting.figures import BLUE, GREY, ORANGE, RED, Axes, Figure, Say, canvas, canvases, label
from rnn_core.studies.lesson import Finding, Lesson, Trained, Variant, Variants, examples, sayer, training

WINDOW, SPAN = 50, 4 * np.pi  # values of a window of the next-value lesson, and the radians from first to last
STEPS = 64  # of a sequence of the other lessons
PERIODS = 2, 4  # in a sequence, at least and at most
DELAY = 5  # steps after which a cosine is asked for in the delayed lesson
SEEN = STEPS // 2  # steps up to where two sequences are the same, in the test of what an output has seen
DATA = 20  # marks the data's random stream
GRAPH_STEPS = 3
EPOCHS = 100
UPDATES = 4  # in an epoch of the lessons that answer at every step, whatever `study.size`
ANSWERS = Model(hidden_size=32, head="tanh", readout="steps", init="orthogonal")


class Waves(NamedTuple):
    """Sines and what is asked of them; the first `train` rows are for training, the others for testing."""

    sequences: Sequences
    train: int

    @property
    def folds(self) -> Folds:
        """One fold of all rows."""
        return holdout(self.train, 0, len(self.sequences) - self.train)


def _waves(x: Array, y: Array, train: int) -> Waves:
    """Inputs (N, T) and targets (N, S) that are all scored."""
    mask = np.ones(y.shape, bool)
    return Waves(Sequences(x[..., None], y[..., None], mask, loss="mean_squared_error", raw=True), train)


class Outcome(NamedTuple):
    """What a network answered on the s test rows and what was asked (s, S), and the mean squared error by step (S,).

    The error is NaN at the steps that are not scored.
    """

    answers: Array
    targets: Array
    errors: Array

    @property
    def mse(self) -> float:
        """Mean over the scored steps."""
        return float(np.nanmean(self.errors))

    @property
    def first(self) -> float:
        """Mean squared error of the first scored step."""
        return float(self.errors[np.isfinite(self.errors)][0])

    @property
    def later(self) -> float:
        """Mean squared error of the second half of the steps."""
        return float(self.errors[len(self.errors) // 2 :].mean())


def _outcome(trained: Trained) -> Outcome:
    sequences, rows = trained.variant.sequences, trained.variant.folds.test[0]
    answers, targets = trained.logits[0, :, :, 0], sequences.y[rows, :, 0]
    errors = np.where(sequences.mask[rows], (answers - targets) ** 2, np.nan).mean(axis=0)
    return Outcome(answers, targets, errors)


def next_value_data(study: Study) -> Waves:
    """Windows of a sine at random phase over 4π, and the value that follows each."""
    train, test = examples(study, 1000), examples(study, 200)
    phase = _random(study).uniform(0, 2 * np.pi, (train + test, 1))
    values = np.sin(phase + np.arange(WINDOW + 1) * SPAN / (WINDOW - 1))
    return _waves(values[:, :WINDOW], values[:, WINDOW:], train)


def next_value_variants(study: Study, waves: Waves) -> Variants:
    """One network that is read at the end of a window."""
    own = training(study, epochs=50, batch_size=64, learning_rate=0.01, clip_norm=1.0)
    return {"network": Variant(Model(hidden_size=32), own, waves.sequences, waves.folds)}


def next_value_finding(study: Study, waves: Waves, trained: dict[str, Trained]) -> Finding:
    """How near the network comes, beside the last value and the rule that the sine follows."""
    say, outcome, loss = sayer(study), _outcome(trained["network"]), trained["network"].fit.train_loss[0]
    x, y, folds = waves.sequences.x[:, :, 0], waves.sequences.y[:, 0, 0], waves.folds
    target, window = outcome.targets[:, 0], x[folds.test[0]]
    gap = outcome.answers[:, 0] - target
    rule = 2 * np.cos(SPAN / (WINDOW - 1)) * window[:, -1] - window[:, -2]
    naive = regression_baselines(x[:, -1], y, folds.train, folds.test) | {"two_value_rule": rule}
    metrics = {
        "test/mse": outcome.mse,
        "test/largest_error": float(np.abs(gap).max()),
        "train/last_loss": float(loss[-1]),
        **{f"baseline/{name}_mse": float(((forecast - target) ** 2).mean()) for name, forecast in naive.items()},
    }
    figures = {"predicted.png": _predicted(target, gap, say), "loss.png": _loss(loss, say)}
    return Finding(_of_next_value(metrics, len(loss), len(target), say), metrics, figures)


def _of_next_value(metrics: dict[str, float], epochs: int, windows: int, say: Say) -> tuple[str, ...]:
    mse, largest, loss, last, _, rule = metrics.values()
    verdict = say("better", "더 정확하다") if mse < last else say("no better", "더 정확하지 않다")
    return (
        say(
            f"After {epochs} epochs the mean squared error of the next value is {mse:.2g} on {windows} test windows "
            f"({loss:.2g} in the last epoch of training), and no answer is further off than {largest:.2g}.",
            f"{epochs}에포크를 학습한 뒤 테스트 창 {windows}개에서 다음 값의 평균제곱오차는 {mse:.2g}이고(마지막 "
            f"에포크의 학습 손실은 {loss:.2g}), 가장 크게 빗나간 답의 오차도 {largest:.2g}이다.",
        ),
        say(
            f"To repeat the last value has an error of {last:.2g}: the network is {verdict}. A rule of two values, "
            f"2·cos δ·x(t) − x(t−1) with δ the angle of a step, has {rule:.2g}: what this shows is that the training "
            "works, not that a sine needs a network.",
            f"마지막 값을 되풀이하면 오차가 {last:.2g}이므로 신경망이 {verdict}. 두 값만 쓰는 규칙 "
            f"2·cos δ·x(t) − x(t−1)의 오차는 {rule:.2g}이다(δ는 한 시점의 각도). 여기서 보이는 것은 학습이 제대로 "
            "된다는 것이지, 사인을 맞히는 데 신경망이 필요하다는 것이 아니다.",
        ),
    )


def _predicted(target: Array, gap: Array, say: Say) -> Figure:
    """Predicted against true (s,), and how far each is off."""
    figure, ((both, off),) = canvases(say("The next value of a sine", "사인의 다음 값"), columns=2, height=4)
    both.axline((0, 0), slope=1, color=GREY, linestyle="--", linewidth=1)
    both.scatter(target, target + gap, 16, ec=BLUE, fc="none")
    both.annotate(say("dashed: right", "점선: 정답"), (0.05, 0.92), xycoords="axes fraction", color="0.35")
    off.axhline(0, color=GREY, linestyle="--", linewidth=1)
    off.scatter(target, gap, 16, ec=BLUE, fc="none")
    off.ticklabel_format(axis="y", scilimits=(-2, 2), useMathText=True)
    true = say("true value", "실제 값")
    both.set(xlabel=true, ylabel=say("predicted value", "예측 값"))
    off.set(xlabel=true, ylabel=say("predicted − true", "예측 − 실제"))
    return figure


def _loss(loss: Array, say: Say) -> Figure:
    """Training loss (epochs,) by epoch."""
    figure, axes = canvas(say("The next value: training loss by epoch", "다음 값: 에포크별 학습 손실"))
    axes.semilogy(np.arange(1, len(loss) + 1), loss, color=BLUE, marker="o", markersize=3)
    label(axes, f"{loss[-1]:.2g}", len(loss), loss[-1], BLUE)
    axes.set(xlabel=say("epoch", "에포크"), ylabel=say("mean squared error", "평균제곱오차"))
    axes.set_xlim(0.5, 1.1 * len(loss) + 0.5)
    return figure


def data(study: Study) -> Waves:
    """sin(ωt + φ) as input and cos(ωt + φ) as target of every step, each with its own ω and φ."""
    train, test = examples(study, 8192), examples(study, 1024)
    random, shape = _random(study), (train + test, 1)
    periods, phase = random.uniform(*PERIODS, shape), random.uniform(0, 2 * np.pi, shape)
    angle = phase + 2 * np.pi * periods * np.arange(STEPS) / STEPS
    return _waves(np.sin(angle), np.cos(angle), train)


def _random(study: Study) -> np.random.Generator:
    return np.random.default_rng([study.training.seed, DATA])


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
    return {"synced": Variant(ANSWERS, _training(study, waves, EPOCHS), waves.sequences, waves.folds)}


def synced_finding(study: Study, waves: Waves, trained: dict[str, Trained]) -> Finding:
    """The error by step, and two waves that show why the first step is missed."""
    say, synced = sayer(study), _outcome(trained["synced"])
    ignorant = float((synced.targets[:, 0] ** 2).mean())
    first = waves.sequences.x[waves.folds.test[0], 0, 0]
    metrics = _metrics(synced) | {"baseline/zero_mse_first_step": ignorant}
    title = say("The cosine, asked for at once", "곧바로 묻는 코사인")
    errors = _errors(title, {say("asked at once", "곧바로 물음"): synced}, ignorant, say)
    note = say("After one value: does the wave rise or fall?", "값 하나만 보고: 파동이 오르는가, 내리는가?")
    _note(errors, f"← {note}", (0.03, 0.93), "0.35")
    figures = {"errors.png": errors, "answers.png": _answers(title, synced, say)}
    sentences = (_of_synced(synced, ignorant, say), _of_twins(synced, first, say))
    return Finding(sentences, metrics, figures, _graph(trained["synced"].fit))


def _metrics(outcome: Outcome) -> dict[str, float]:
    return {
        "test/mse": outcome.mse,
        "test/mse_first_step": outcome.first,
        "test/mse_second_half": outcome.later,
    }


def _of_synced(synced: Outcome, ignorant: float, say: Say) -> str:
    numbers = say(
        f"At the first step the mean squared error is {synced.first:.2g}, where the answer 0 for every wave has "
        f"{ignorant:.2g}; over the second half of the steps it is {synced.later:.2g}. ",
        f"첫 시점의 평균제곱오차는 {synced.first:.2g}이고, 모든 파동에 0이라고 답할 때의 오차는 {ignorant:.2g}이다. "
        f"뒤쪽 절반 시점의 오차는 {synced.later:.2g}이다. ",
    )
    if synced.later < 0.1 * synced.first:
        return numbers + say(
            "The first steps are bad, for one value does not tell whether a wave rises or falls; later ones are good.",
            "값 하나로는 파동이 오르는지 내리는지 알 수 없으므로 처음 몇 시점의 답은 나쁘고, 그 뒤의 답은 좋다.",
        )
    return numbers + say(
        "The later steps are not yet much better than the first.", "뒤쪽 시점도 아직 첫 시점보다 크게 낫지 않다."
    )


def _of_twins(synced: Outcome, first: Array, say: Say) -> str:
    """Of the waves that are neighbours by their `first` value (s,), the two that differ most in what is asked."""
    order = np.argsort(first)
    at = int(np.abs(np.diff(synced.targets[order, 0])).argmax())
    (x, other_x), (y, other_y), (answer, other_answer) = (
        values[order[at : at + 2]] for values in (first, synced.targets[:, 0], synced.answers[:, 0])
    )
    return say(
        f"Two test waves begin with {_signed(x)} and {_signed(other_x)}; their cosines there are {_signed(y)} and "
        f"{_signed(other_y)}, and the network answers {_signed(answer)} and {_signed(other_answer)}.",
        f"테스트 파동 둘은 {_signed(x)}, {_signed(other_x)}에서 시작하고 그 시점의 코사인은 {_signed(y)}, "
        f"{_signed(other_y)}인데, 신경망의 답은 {_signed(answer)}, {_signed(other_answer)}이다.",
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _graph(fit: Fit) -> dict[str, str]:
    """The computation of a few steps in DOT, where torch and torchviz are there to trace it."""
    if find_spec("torch") is None or find_spec("torchviz") is None:
        return {}
    from rnn_core.nn.torch_bridge import graph

    return {"graph.dot": graph(fit.model, fit.params, 1, GRAPH_STEPS)}


def delayed_variants(study: Study, waves: Waves) -> Variants:
    """The same network from the same start, asked for each cosine `DELAY` steps later, and at once."""
    own, now = _training(study, waves, EPOCHS), waves.sequences
    mask = now.mask & (np.arange(STEPS) >= DELAY)  # what np.roll brings round to the first steps is not scored
    later = Sequences(now.x, np.roll(now.y, DELAY, axis=1), mask, loss=now.loss, raw=True)
    return {
        name: Variant(ANSWERS, own, sequences, waves.folds) for name, sequences in (("delayed", later), ("synced", now))
    }


def delayed_finding(study: Study, waves: Waves, trained: dict[str, Trained]) -> Finding:
    """The error of each cosine when it is asked for later, beside that when it is asked for at once."""
    say, delayed, synced = sayer(study), _outcome(trained["delayed"]), _outcome(trained["synced"])
    ignorant = float((synced.targets[:, 0] ** 2).mean())
    metrics = _metrics(delayed) | {f"{name}_synced": value for name, value in _metrics(synced).items()}
    title = say(f"The cosine, asked for {DELAY} steps later", f"{DELAY}스텝 뒤에 묻는 코사인")
    names = say(f"asked {DELAY} steps later", f"{DELAY}스텝 뒤에 물음"), say("asked at once", "곧바로 물음")
    aligned = delayed._replace(errors=delayed.errors[DELAY:])  # by the step whose cosine it is
    errors = _errors(title, dict(zip(names, (aligned, synced), strict=True)), ignorant, say)
    figures = {"errors.png": errors, "answers.png": _answers(title, delayed, say, DELAY)}
    return Finding(_of_delayed(delayed, synced, say), metrics, figures)


def _of_delayed(delayed: Outcome, synced: Outcome, say: Say) -> tuple[str, ...]:
    return (
        say(
            f"The cosine of the first step has a mean squared error of {synced.first:.2g} when it is asked for at once "
            f"and of {delayed.first:.2g} when it is asked for {DELAY} steps later, after {DELAY + 1} values: ",
            f"첫 시점의 코사인을 곧바로 물으면 평균제곱오차가 {synced.first:.2g}이고, {DELAY}스텝 뒤에, 곧 값 "
            f"{DELAY + 1}개를 본 다음에 물으면 {delayed.first:.2g}이다. ",
        )
        + _of_early_error(delayed.first, synced.first, say),
        say(
            f"Over the second half of the steps the errors are {delayed.later:.2g} with the delay and "
            f"{synced.later:.2g} without it. The first {DELAY} steps, where nothing is asked yet, are masked: they "
            "count neither in the training nor in the error.",
            f"뒤쪽 절반 시점의 오차는 지연이 있으면 {delayed.later:.2g}, 없으면 {synced.later:.2g}이다. 아직 아무것도 "
            f"묻지 않는 처음 {DELAY}개 시점은 마스크로 가려 학습에도 오차에도 넣지 않는다.",
        ),
        say(
            f"The price is that every answer comes {DELAY} steps late, and that the network has to remember what it "
            "is about to be asked.",
            f"그 대가로 모든 답이 {DELAY}스텝 늦게 나오고, 신경망은 나중에 물을 것을 기억하고 있어야 한다.",
        ),
    )


def _of_early_error(first: float, before: float, say: Say) -> str:
    """How much is left of the error `before` of a first step."""
    if first < 0.1 * before:
        left = f"{first / before:.1%}"
        return say(f"all but {left} of the early error is gone.", f"초반 오차 가운데 {left}만 남고 나머지는 사라졌다.")
    if first < 0.5 * before:
        return say("the early error is smaller, but not gone.", "초반의 오차가 줄었지만 사라지지는 않았다.")
    return say("the early error is still there.", "초반의 오차가 그대로 남아 있다.")


def bidirectional_variants(study: Study, waves: Waves) -> Variants:
    """One network that reads a sequence both ways before it is asked for the cosine of every step."""
    model = replace(ANSWERS, bidirectional=True)
    return {"bidirectional": Variant(model, _training(study, waves, EPOCHS), waves.sequences, waves.folds)}


def bidirectional_finding(study: Study, waves: Waves, trained: dict[str, Trained]) -> Finding:
    """The error by step, and how far the answers depend on inputs that come after them."""
    say, both, fit = sayer(study), _outcome(trained["bidirectional"]), trained["bidirectional"].fit
    ignorant = float((both.targets[:, 0] ** 2).mean())
    x = waves.sequences.x[waves.folds.test[0]]
    answers, altered = _with_another_future(fit.model, fit.params, x)
    start = initial_params(ANSWERS, 1, 1, [_random(study)], "float32")  # its order of reading is all that matters
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
    errors = _errors(title, {say("read both ways", "양방향으로 읽음"): both}, ignorant, say)
    if change > one_way:
        warning = say(
            "Every output has seen its future:\nnever use this to forecast.",
            "모든 출력이 이미 미래를 보았다.\n예측(forecasting)에 절대 쓰지 말 것.",
        )
        _note(errors, warning, (0.2, 0.85), RED)
    figures = {"errors.png": errors, "future.png": _future(x, answers, altered, say)}
    return Finding(_of_both_ways(both, ignorant, change, one_way, say), metrics, figures)


def _with_another_future(model: settings.Model, params: Params, x: Array) -> tuple[Array, Array]:
    """Answers (s, S) to x (s, T, I), as it is and with another sequence's inputs behind the first `SEEN` steps."""
    other = _spliced(x)
    before, after = (network(params, each[None].astype(np.float32), model)[0][0, :, :, 0] for each in (x, other))
    return before, after


def _spliced(x: Array) -> Array:
    """Each of the sequences x (s, T, I) up to `SEEN` steps, and from there on the one before it."""
    return np.concatenate([x[:, :SEEN], np.roll(x, 1, axis=0)[:, SEEN:]], axis=1)


def _of_both_ways(both: Outcome, ignorant: float, change: float, one_way: float, say: Say) -> tuple[str, ...]:
    sees = change > one_way
    return (
        say(
            f"Read in both directions, the first step has a mean squared error of {both.first:.2g}, where the answer 0 "
            f"for every wave has {ignorant:.2g}; step {SEEN} has {both.errors[SEEN - 1]:.2g} and the last one, where "
            f"the way back has read a single value, {both.errors[-1]:.2g}: ",
            f"양방향으로 읽으면 첫 시점의 평균제곱오차는 {both.first:.2g}이고, 모든 파동에 0이라고 답할 때의 오차는 "
            f"{ignorant:.2g}이다. {SEEN}번째 시점의 오차는 {both.errors[SEEN - 1]:.2g}, 거꾸로 읽는 쪽이 값 하나만 본 "
            f"마지막 시점의 오차는 {both.errors[-1]:.2g}이다. ",
        )
        + _of_early_error(both.first, ignorant, say),
        say(
            f"Inputs behind step {SEEN} were replaced by those of another wave: answers up to step {SEEN} change by "
            f"up to {change:.2g}, those of an untrained network that reads forwards only by {one_way:.2g}.",
            f"{SEEN}번째 시점 뒤의 입력을 다른 파동의 것으로 바꾸면 {SEEN}번째 시점까지의 답이 최대 {change:.2g}만큼 "
            f"달라지고, 앞에서 뒤로만 읽는 학습 전 신경망의 답은 {one_way:.2g}만큼 달라진다.",
        ),
        say(
            "Warning: an output of this network has seen its future. Such a network must never be used to forecast."
            if sees
            else "This run does not show that an output depends on its future.",
            "경고: 이 신경망의 출력은 이미 미래를 보았다. 이런 신경망을 예측(forecasting)에 써서는 절대 안 된다."
            if sees
            else "이번 실행에서는 출력이 미래에 의존한다는 것이 드러나지 않았다.",
        ),
    )


def _note(figure: Figure, text: str, place: tuple[float, float], colour: Any) -> None:
    """Write into a plot, from `place` in fractions of its axes to the right."""
    figure.axes[0].annotate(text, place, xycoords="axes fraction", va="top", color=colour)


def _errors(title: str, outcomes: dict[str, Outcome], ignorant: float, say: Say) -> Figure:
    """Mean squared error by the step whose cosine is asked for, on a logarithmic scale, and that of the answer 0."""
    figure, axes = canvas(f"{title}: {say('error by step', '시점별 오차')}")
    for (name, outcome), colour in zip(outcomes.items(), (BLUE, ORANGE), strict=False):
        steps, (first, last) = np.arange(1, len(outcome.errors) + 1), outcome.errors[[0, -1]]
        line = f"{name}: {first:.2g} → {last:.2g}"
        axes.semilogy(steps, outcome.errors, color=colour, marker="o", markersize=3, linewidth=1.2, label=line)
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.92), labelcolor="linecolor", frameon=False)
    axes.axhline(ignorant, color=GREY, linestyle="--", linewidth=1)
    zero = say(f"the answer 0 for every wave: {ignorant:.2g}", f"모든 파동에 0이라고 답함: {ignorant:.2g}")
    axes.annotate(zero, (STEPS, ignorant), xytext=(0, 4), textcoords="offset points", ha="right", color="0.35")
    axes.set(xlabel=say("step whose cosine is asked for", "코사인을 묻는 시점"), xlim=(0, STEPS + 1))
    axes.set(ylabel=say("mean squared error", "평균제곱오차"), xticks=[1, *range(8, STEPS + 1, 8)])
    return figure


def _answers(title: str, outcome: Outcome, say: Say, masked: int = 0) -> Figure:
    """Predicted and true of up to nine test waves; the steps that are not scored are shaded."""
    figure, plots = canvases(title, 3, 3, height=6)
    steps = np.arange(1, STEPS + 1)
    for axes, answer, target in zip(plots.flat, outcome.answers, outcome.targets, strict=False):
        axes.plot(steps[masked:], target[masked:], color=GREY, linewidth=3, label=say("true", "실제"))
        axes.plot(steps[masked:], answer[masked:], color=BLUE, linewidth=1.2, label=say("predicted", "예측"))
        if masked:
            axes.axvspan(0.5, masked + 0.5, color="0.9", label=say("not scored", "채점하지 않음"))
        axes.set(ylim=(-1.6, 1.6), xticks=[1, 32, 64])
    figure.supxlabel(say("step", "시점"))
    figure.supylabel(say("cosine", "코사인"))
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """What the lines of all plots mean, beside the title."""
    named = figure.axes[0].get_legend_handles_labels()
    figure.legend(*named, loc="outside upper right", ncols=3, frameon=False)


def _future(x: Array, answers: Array, altered: Array, say: Say) -> Figure:
    """The test wave whose answers change most when only its future does."""
    row = int(np.abs(altered - answers)[:, :SEEN].max(axis=1).argmax())
    title = say("One wave, two futures", "한 파동, 두 가지 미래")
    figure, plots = canvases(title, rows=2, height=5.5)
    shown = (
        (x, _spliced(x), say("input (sine)", "입력(사인)")),
        (answers, altered, say("answer (cosine)", "답(코사인)")),
    )
    for axes, (own, other, name) in zip(plots[:, 0], shown, strict=True):
        _two_futures(axes, own[row].ravel(), other[row].ravel(), say)
        axes.set_ylabel(name)
    plots[1, 0].set_xlabel(say("step", "시점"))
    _legend(figure)
    return figure


def _two_futures(axes: Axes, own: Array, other: Array, say: Say) -> None:
    """One line (T,) with its own future and one with another's."""
    steps = np.arange(1, STEPS + 1)
    futures = say("another wave's future", "다른 파동의 미래"), say("its own future", "원래 미래")
    axes.plot(steps, other, color=ORANGE, linewidth=1.2, marker="o", markersize=3, label=futures[0])
    axes.plot(steps, own, color=BLUE, linewidth=1.2, label=futures[1])
    axes.axvline(SEEN + 0.5, color=GREY, linestyle="--", linewidth=1)
    axes.set(xlim=(0, STEPS + 1), xticks=[1, *range(8, STEPS + 1, 8)])


NEXT_VALUE = Lesson(next_value_data, next_value_variants, next_value_finding)
SYNCED = Lesson(data, synced_variants, synced_finding)
DELAYED = Lesson(data, delayed_variants, delayed_finding)
BIDIRECTIONAL = Lesson(data, bidirectional_variants, bidirectional_finding)

"""The findings of the studies on cosines, in sentences."""

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import Say
from rnn_core.studies.sines.waves import DELAY, SEEN, Outcome

GONE = 0.1  # a share of an error that is left, below which the error counts as gone
SMALLER = 0.5  # and one below which it counts as smaller


def of_synced(synced: Outcome, ignorant: float, say: Say) -> str:
    """Say how the error falls over the steps."""
    numbers = say(
        f"At the first step the mean squared error is {synced.first:.2g}, where the answer 0 for "
        f"every wave has {ignorant:.2g}; over the second half of the steps it is "
        f"{synced.later:.2g}. ",
        f"첫 시점의 평균제곱오차는 {synced.first:.2g}이고, 모든 파동에 0이라고 답할 때의 오차는 "
        f"{ignorant:.2g}이다. 뒤쪽 절반 시점의 오차는 {synced.later:.2g}이다. ",
    )
    if synced.later < GONE * synced.first:
        return numbers + say(
            "The first answers are bad, as one value does not show whether a wave rises or falls; "
            "later ones are good.",
            "값 하나로는 파동이 오르는지 내리는지 알 수 없으므로 처음 몇 시점의 답은 나쁘고, 그 "
            "뒤의 답은 좋다.",
        )
    return numbers + say(
        "The later steps are not yet much better than the first.",
        "뒤쪽 시점도 아직 첫 시점보다 크게 낫지 않다.",
    )


def of_twins(synced: Outcome, first: Array, say: Say) -> str:
    """Show the two waves with neighbouring `first` values (s,) whose targets differ most."""
    order = np.argsort(first)
    targets = synced.targets[:, 0]
    place = int(np.abs(np.diff(targets[order])).argmax())
    twins = order[place : place + 2]
    x, other_x = map(_signed, first[twins])
    y, other_y = map(_signed, targets[twins])
    answer, other_answer = map(_signed, synced.answers[twins, 0])
    return say(
        f"Two test waves begin with {x} and {other_x}; their cosines there are {y} and {other_y}, "
        f"and the network answers {answer} and {other_answer}.",
        f"테스트 파동 둘은 {x}, {other_x}에서 시작하고 그 시점의 코사인은 {y}, {other_y}인데, "
        f"신경망의 답은 {answer}, {other_answer}이다.",
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def of_delayed(delayed: Outcome, synced: Outcome, say: Say) -> tuple[str, ...]:
    """Say what a delay saves, and what it costs."""
    saves = say(
        f"The cosine of the first step has a mean squared error of {synced.first:.2g} if it is "
        f"asked for at once and of {delayed.first:.2g} if it is asked for {DELAY} steps later, "
        f"after {DELAY + 1} values: ",
        f"첫 시점의 코사인을 곧바로 물으면 평균제곱오차가 {synced.first:.2g}이고, {DELAY}시점 "
        f"뒤에, 곧 값 {DELAY + 1}개를 본 다음에 물으면 {delayed.first:.2g}이다. ",
    )
    later = say(
        f"Over the second half of the steps the errors are {delayed.later:.2g} with the delay and "
        f"{synced.later:.2g} without it. The first {DELAY} steps, where nothing is asked yet, are "
        "masked: they count neither in the training nor in the error.",
        f"뒤쪽 절반 시점의 오차는 지연이 있으면 {delayed.later:.2g}, 없으면 "
        f"{synced.later:.2g}이다. 아직 아무것도 묻지 않는 처음 {DELAY}개 시점은 마스크로 가려 "
        "학습에도 오차에도 넣지 않는다.",
    )
    costs = say(
        f"The price is that every answer comes {DELAY} steps late, and that the network has to "
        "remember what it will be asked.",
        f"그 대가로 모든 답이 {DELAY}시점 늦게 나오고, 신경망은 나중에 물을 것을 기억하고 있어야 "
        "한다.",
    )
    return saves + _of_early_error(delayed.first, synced.first, say), later, costs


def _of_early_error(first: float, before: float, say: Say) -> str:
    """Say how much is left of the error `before` of a first step."""
    if first < GONE * before:
        left = f"{first / before:.1%}"
        return say(
            f"all but {left} of the early error is gone.",
            f"초반 오차 가운데 {left}만 남고 나머지는 사라졌다.",
        )
    if first < SMALLER * before:
        return say(
            "the early error is smaller, but not gone.", "초반의 오차가 줄었지만 사라지지는 않았다."
        )
    return say("the early error is still there.", "초반의 오차가 그대로 남아 있다.")


def of_both_ways(
    both: Outcome, ignorant: float, change: float, change_one_way: float, say: Say
) -> tuple[str, ...]:
    """Say what reading both ways saves, and whether the answers depend on later inputs.

    `change` is by how much other later inputs change an answer, and `change_one_way` the same of a
    network that reads forwards only.
    """
    middle = both.errors[SEEN - 1]
    last = both.errors[-1]
    errors = say(
        f"Read in both directions, the first step has a mean squared error of {both.first:.2g}, "
        f"where the answer 0 for every wave has {ignorant:.2g}; step {SEEN} has {middle:.2g} and "
        f"the last one, where the reverse direction has read a single value, {last:.2g}: ",
        f"양방향으로 읽으면 첫 시점의 평균제곱오차는 {both.first:.2g}이고, 모든 파동에 0이라고 "
        f"답할 때의 오차는 {ignorant:.2g}이다. {SEEN}번째 시점의 오차는 {middle:.2g}, 거꾸로 읽는 "
        f"쪽이 값 하나만 본 마지막 시점의 오차는 {last:.2g}이다. ",
    )
    changes = say(
        f"Inputs after step {SEEN} were replaced by those of another wave: answers up to step "
        f"{SEEN} change by up to {change:.2g}, and those of an untrained network that only reads "
        f"forwards by {change_one_way:.2g}.",
        f"{SEEN}번째 시점 뒤의 입력을 다른 파동의 것으로 바꾸면 {SEEN}번째 시점까지의 답이 최대 "
        f"{change:.2g}만큼 달라지고, 앞에서 뒤로만 읽는 학습 전 신경망의 답은 "
        f"{change_one_way:.2g}만큼 달라진다.",
    )
    warning = _of_future(change > change_one_way, say)
    return errors + _of_early_error(both.first, ignorant, say), changes, warning


def _of_future(seen: bool, say: Say) -> str:
    if seen:
        return say(
            "Warning: an output of this network has seen its future. Such a network must never be "
            "used to forecast.",
            "경고: 이 신경망의 출력은 이미 미래를 보았다. 이런 신경망을 예측(forecasting)에 써서는 "
            "절대 안 된다.",
        )
    return say(
        "This run does not show that an output depends on its future.",
        "이번 실행에서는 출력이 미래에 의존한다는 것이 드러나지 않았다.",
    )

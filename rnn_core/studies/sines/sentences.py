"""What the studies of cosines found, in words."""

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import (
    Say,
)
from rnn_core.studies.sines.waves import DELAY, SEEN, Outcome


def of_synced(synced: Outcome, ignorant: float, say: Say) -> str:
    """Say how the error falls over the steps."""
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
        "The later steps are not yet much better than the first.",
        "뒤쪽 시점도 아직 첫 시점보다 크게 낫지 않다.",
    )


def of_twins(synced: Outcome, first: Array, say: Say) -> str:
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


def of_delayed(delayed: Outcome, synced: Outcome, say: Say) -> tuple[str, ...]:
    """Say what a delay saves, and what it costs."""
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
        return say(
            f"all but {left} of the early error is gone.",
            f"초반 오차 가운데 {left}만 남고 나머지는 사라졌다.",
        )
    if first < 0.5 * before:
        return say(
            "the early error is smaller, but not gone.", "초반의 오차가 줄었지만 사라지지는 않았다."
        )
    return say("the early error is still there.", "초반의 오차가 그대로 남아 있다.")


def of_both_ways(
    both: Outcome, ignorant: float, change: float, one_way: float, say: Say
) -> tuple[str, ...]:
    """Say what reading both ways saves, and that it sees the future."""
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

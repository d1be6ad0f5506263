"""The findings of the study, in sentences and a table."""

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import Say
from rnn_core.studies.study import Trained
from rnn_core.studies.vanishing.reach import (
    LENGTHS,
    LONGEST,
    LOST,
    RADII,
    Reach,
    lost_at,
    tanh_name,
)

RECALL = 30  # steps of a sequence whose first sign is asked for at the end
LEARNT = 0.9  # a network has learned if its accuracy is above
ROUNDING = 1e-9  # relative: rounding differs by less


def of_lags(longest: dict[str, Reach], say: Say) -> str:
    """Say after how many steps the gradient is lost, by radius."""
    lost = lost_at({tanh_name(radius): longest[tanh_name(radius)] for radius in RADII})
    lags = {name.removeprefix("tanh "): lag for name, lag in lost.items()}
    kept = ", ".join(f"{radius:g}" for radius in RADII if tanh_name(radius) not in lost)
    english = ", ".join(f"{radius} after {lag} steps" for radius, lag in lags.items())
    korean = ", ".join(f"{radius}에서는 {lag}시점" for radius, lag in lags.items())
    vanishes = say(
        f"At the start the gradient of a tanh network falls below {LOST:g} with a spectral radius "
        f"of {english or 'none of those tried'}",
        f"시작 값에서 tanh 신경망의 기울기가 {LOST:g} 아래로 떨어지기까지 걸리는 시점 수는 "
        f"스펙트럼 반지름 {korean or '어느 것에서도 나오지 않았다'}",
    )
    if not kept:
        return vanishes + say(".", "이다.")
    return vanishes + say(
        f"; within {LONGEST} steps it does not with {kept}.",
        f"이다. {kept}에서는 {LONGEST}시점 안에 그렇게 되지 않는다.",
    )


def of_gates(longest: dict[str, Reach], say: Say) -> str:
    """Say how much of the gradient the gated networks keep."""
    norms = {name: longest[name].state[-1] for name in ("GRU", "LSTM", "LSTM forget 1")}
    listed = ", ".join(f"{name} {norm:.0e}" for name, norm in norms.items())
    steps = LONGEST - 1
    numbers = say(
        f"In the gated networks this much of the gradient is left after {steps} steps: {listed} "
        "(for an LSTM, that of h and c together). ",
        f"게이트가 있는 신경망에서 {steps}시점을 거슬러 남는 기울기: {listed}(LSTM은 h와 c를 함께 "
        "잰다). ",
    )
    if norms["LSTM forget 1"] > norms["LSTM"]:
        return numbers + say(
            "A forget bias of 1 keeps more of it.", "망각 편향 1은 기울기를 더 남긴다."
        )
    return numbers + say(
        "A forget bias of 1 keeps no more of it.", "망각 편향 1이 더 남기지는 않는다."
    )


def of_product(apart: float, say: Say) -> str:
    """Say whether backpropagation gives the product of Jacobians."""
    numbers = say(
        "Backpropagation a step at a time and the plain product of Jacobians differ by at most "
        f"{apart:.0e} of the norm",
        f"한 시점씩 역전파한 값과 야코비 행렬을 그냥 곱한 값의 상대 차이는 최대 {apart:.0e}이다. ",
    )
    if apart < ROUNDING:
        return numbers + say(": it is that product.", "역전파는 바로 그 곱이다.")
    return numbers + say(", more than rounding explains.", "반올림만으로는 설명되지 않는다.")


def of_clip(clipped: Trained, unclipped: Trained, say: Say) -> str:
    """Say whether clipping helps."""
    networks = len(RADII)
    steps = RECALL - 1
    learnt = int((accuracy(clipped) > LEARNT).sum())
    learnt_without = int((accuracy(unclipped) > LEARNT).sum())
    worst = float(np.nanmax(clipped.fit.train_loss))
    worst_without = float(np.nanmax(unclipped.fit.train_loss))
    numbers = say(
        f"Asked for a sign {steps} steps later, {learnt_without} of {networks} tanh networks learn "
        f"it without clipping and {learnt} with it; the worst epoch has a loss of "
        f"{worst_without:.1f} without and of {worst:.1f} with it. ",
        f"{steps}시점 뒤에 부호를 물으면 tanh 신경망 {networks}개 중 클리핑 없이는 "
        f"{learnt_without}개, 클리핑하면 {learnt}개가 배운다. 가장 나쁜 에포크의 손실은 클리핑 "
        f"없이 {worst_without:.1f}, 클리핑하면 {worst:.1f}이다. ",
    )
    if learnt > learnt_without and worst < worst_without:
        return numbers + say("Here clipping helps.", "여기서는 클리핑이 도움이 된다.")
    return numbers + say(
        "Clipping makes no visible difference here.",
        "여기서는 클리핑의 차이가 드러나지 않는다.",
    )


def accuracy(trained: Trained) -> Array:
    """Return the accuracy (M,) of each model on the test rows; a frozen one is always wrong."""
    up = trained.variant.sequences.y[trained.variant.folds.test[0], 0, 0]
    logits = trained.logits[..., 0, 0]
    right = np.where(np.isfinite(logits), (logits > 0) == up, False)
    return np.asarray(right.mean(axis=1))


def markdown(reaches: dict[str, dict[int, Reach]], say: Say) -> str:
    """Return a table of ‖∂h_T/∂h_1‖ by network and length T, in Markdown."""
    lengths = " | ".join(f"T = {length}" for length in LENGTHS)
    lines = [
        f"| {say('network', '신경망')} | {lengths} |",
        "|---" * (1 + len(LENGTHS)) + "|",
        *(f"| {name} | {_norms(by_length)} |" for name, by_length in reaches.items()),
    ]
    return "\n".join(lines) + "\n"


def _norms(by_length: dict[int, Reach]) -> str:
    return " | ".join(f"{by_length[length].state[-1]:.1e}" for length in LENGTHS)

"""What the study found, in words."""

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import (
    Say,
)
from rnn_core.studies.study import (
    Trained,
)
from rnn_core.studies.vanishing.reach import LENGTHS, LOST, RADII, Reach, lost_at, tanh_name

LEARNT = 0.9  # accuracy
RECALL = 30  # steps to remember a sign for


def of_lags(longest: dict[str, Reach], say: Say) -> str:
    """Say after how many steps the gradient is lost, by radius."""
    lost = lost_at({tanh_name(radius): longest[tanh_name(radius)] for radius in RADII})
    kept = [f"{radius:g}" for radius in RADII if tanh_name(radius) not in lost]
    english = ", ".join(
        f"{name.removeprefix('tanh ')} after {lag} steps" for name, lag in lost.items()
    )
    korean = ", ".join(
        f"{name.removeprefix('tanh ')}에서는 {lag}단계" for name, lag in lost.items()
    )
    return say(
        f"At the start the gradient of a tanh network falls below {LOST:g} with a spectral radius of "
        f"{english or 'none of those tried'}"
        + (f"; within {max(LENGTHS)} steps it does not with {', '.join(kept)}." if kept else "."),
        f"시작 값에서 tanh 신경망의 기울기가 {LOST:g} 아래로 떨어지기까지 걸리는 단계는 스펙트럼 반지름 "
        f"{korean or '어느 것에서도 나오지 않았다'}"
        + (
            f"이다. {', '.join(kept)}에서는 {max(LENGTHS)}단계 안에 그렇게 되지 않는다."
            if kept
            else "이다."
        ),
    )


def of_gates(longest: dict[str, Reach], say: Say) -> str:
    """Say how much of the gradient the gated networks keep."""
    norms = {name: longest[name].state[-1] for name in ("GRU", "LSTM", "LSTM forget 1")}
    listed = ", ".join(f"{name} {norm:.0e}" for name, norm in norms.items())
    farther = norms["LSTM forget 1"] > norms["LSTM"]
    return say(
        f"Over {max(LENGTHS) - 1} steps there is left of the gradient of the gated networks: {listed} (of an LSTM, "
        "that of h and c together). "
        + (
            "A forget bias of 1 keeps more of it."
            if farther
            else "A forget bias of 1 keeps no more of it."
        ),
        f"게이트가 있는 신경망에서 {max(LENGTHS) - 1}단계를 거슬러 남는 기울기: {listed}(LSTM은 h와 c를 함께 잰다). "
        + ("망각 편향 1은 기울기를 더 남긴다." if farther else "망각 편향 1이 더 남기지는 않는다."),
    )


def of_product(apart: float, say: Say) -> str:
    """Say whether backpropagation gives the product of Jacobians."""
    same = apart < 1e-9
    return say(
        "Backpropagation a step at a time and the plain product of Jacobians differ by at most "
        f"{apart:.0e} of the norm"
        + (": it is that product." if same else ", more than rounding explains."),
        f"한 단계씩 역전파한 값과 야코비 행렬을 그냥 곱한 값의 상대 차이는 최대 {apart:.0e}이다. "
        + ("역전파는 바로 그 곱이다." if same else "반올림만으로는 설명되지 않는다."),
    )


def of_clip(clipped: Trained, unclipped: Trained, say: Say) -> str:
    """Say whether clipping helps."""
    learnt, free = (sum(one > LEARNT for one in accuracy(of)) for of in (clipped, unclipped))
    worst, free_worst = (float(np.nanmax(of.fit.train_loss)) for of in (clipped, unclipped))
    count, helps = len(RADII), learnt > free and worst < free_worst
    return say(
        f"Asked for a sign {RECALL - 1} steps later, {free} of {count} tanh networks learn it without the clip and "
        f"{learnt} with it; the worst epoch has a loss of {free_worst:.1f} without and of {worst:.1f} with it. "
        + ("Here the clip helps." if helps else "The clip makes no difference that shows here."),
        f"{RECALL - 1}단계 뒤에 부호를 물으면 tanh 신경망 {count}개 중 클리핑 없이는 {free}개, 클리핑하면 {learnt}개가 "
        f"배운다. 가장 나쁜 에포크의 손실은 클리핑 없이 {free_worst:.1f}, 클리핑하면 {worst:.1f}이다. "
        + (
            "여기서는 클리핑이 도움이 된다."
            if helps
            else "여기서는 클리핑의 차이가 드러나지 않는다."
        ),
    )


def accuracy(trained: Trained) -> Array:
    """(M,) accuracy of each model on the test rows; a lost one counts as wrong."""
    up = trained.variant.sequences.y[trained.variant.folds.test[0], 0, 0]
    logits = trained.logits[..., 0, 0]
    return np.asarray(np.where(np.isfinite(logits), (logits > 0) == up, False).mean(axis=1))


def markdown(reaches: dict[str, dict[int, Reach]], say: Say) -> str:
    """‖∂h_T/∂h_1‖ for each T, in markdown."""
    head = (
        f"| {say('network', '신경망')} | "
        + " | ".join(f"T = {length}" for length in LENGTHS)
        + " |"
    )
    rows = [
        f"| {name} | "
        + " | ".join(f"{by_length[length].state[-1]:.1e}" for length in LENGTHS)
        + " |"
        for name, by_length in reaches.items()
    ]
    return "\n".join([head, "|---" * (1 + len(LENGTHS)) + "|", *rows]) + "\n"

"""What the study found, in words."""

from rnn_core.reporting.figures import Say
from rnn_core.studies.stacked.check import FAULTS, PASSES, RIGHT, Case

LEARNT = 1e-3  # a loss below it


def of_losses(losses: dict[str, float], epochs: int, say: Say) -> str:
    """Say which networks learned."""
    learnt = sum(loss < LEARNT for loss in losses.values())
    every = learnt == len(losses)
    listed = "; ".join(f"{network_name(name, say)}: {loss:.1e}" for name, loss in losses.items())
    return say(
        f"After {epochs} epochs the losses are {listed}. "
        + (
            f"All are below {LEARNT:g}."
            if every
            else f"Below {LEARNT:g}: {learnt} of {len(losses)}."
        ),
        f"{epochs}에포크 뒤의 손실: {listed}. "
        + (
            f"모두 {LEARNT:g} 미만이다."
            if every
            else f"{len(losses)}개 중 {learnt}개가 {LEARNT:g} 미만이다."
        ),
    )


def of_right(errors: dict[str, float], say: Say) -> str:
    """Say how the right implementations pass the gradient check."""
    worst = max(errors[name] for name in RIGHT)
    passes = worst < PASSES
    return say(
        f"The gradients of the right implementations differ from the slope of their loss by {worst:.0e} at most: "
        + (
            f"all three pass the check at {PASSES:.0e}."
            if passes
            else f"not all pass the check at {PASSES:.0e}."
        ),
        f"올바른 구현의 기울기는 손실의 수치 미분과 상대 오차가 최대 {worst:.0e}이다. "
        + (
            f"셋 모두 기준 {PASSES:.0e}을 통과한다."
            if passes
            else f"기준 {PASSES:.0e}을 통과하지 못한 것이 있다."
        ),
    )


def of_faults(errors: dict[str, float], say: Say) -> str:
    """Say which faults fail the gradient check."""
    found = sum(errors[name] >= PASSES for name in FAULTS)
    every = found == len(FAULTS)
    listed = "; ".join(f"{_flat(case, say)}: {errors[name]:.2g}" for name, case in FAULTS.items())
    return say(
        ("Every fault fails it" if every else f"{found} of {len(FAULTS)} faults fail it")
        + f". Relative errors: {listed}.",
        (f"결함 {found}개가 모두" if every else f"결함 {len(FAULTS)}개 중 {found}개가")
        + f" 검사를 통과하지 못한다. 상대 오차: {listed}.",
    )


def network_name(toy: str, say: Say) -> str:
    """Return the network's name with its loss."""
    squared, entropy = say("squared error", "제곱 오차"), say("cross-entropy", "교차 엔트로피")
    return {
        "tanh": f"tanh ({squared})",
        "prelu": f"PReLU ({squared})",
        "softmax": f"softmax ({entropy})",
    }[toy]


def _flat(case: Case, say: Say) -> str:
    return say(*case.names).replace("\n", " ")

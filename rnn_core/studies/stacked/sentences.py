"""The findings of the study, in sentences."""

from rnn_core.reporting.figures import Say
from rnn_core.studies.stacked.check import FAULTS, PASSES, RIGHT

LEARNT = 1e-3  # a network has learned if its loss is below


def of_losses(losses: dict[str, float], epochs: int, say: Say) -> str:
    """Say which networks learned."""
    learnt = sum(loss < LEARNT for loss in losses.values())
    listed = "; ".join(f"{network_name(name, say)}: {loss:.1e}" for name, loss in losses.items())
    numbers = say(
        f"After {epochs} epochs the losses are {listed}. ", f"{epochs}에포크 뒤의 손실: {listed}. "
    )
    if learnt == len(losses):
        return numbers + say(f"All are below {LEARNT:g}.", f"모두 {LEARNT:g} 미만이다.")
    return numbers + say(
        f"Below {LEARNT:g}: {learnt} of {len(losses)}.",
        f"{len(losses)}개 중 {learnt}개가 {LEARNT:g} 미만이다.",
    )


def of_right(errors: dict[str, float], say: Say) -> str:
    """Say whether the right implementations pass the gradient check."""
    worst = max(errors[name] for name in RIGHT)
    numbers = say(
        "The gradients of the right implementations differ from the slope of their loss by "
        f"{worst:.0e} at most: ",
        f"올바른 구현의 기울기는 손실의 수치 미분과 상대 오차가 최대 {worst:.0e}이다. ",
    )
    if worst < PASSES:
        return numbers + say(
            f"all three pass the check at {PASSES:.0e}.", f"셋 모두 기준 {PASSES:.0e}을 통과한다."
        )
    return numbers + say(
        f"not all pass the check at {PASSES:.0e}.",
        f"기준 {PASSES:.0e}을 통과하지 못한 것이 있다.",
    )


def of_faults(errors: dict[str, float], say: Say) -> str:
    """Say which faults fail the gradient check."""
    failed = sum(errors[name] >= PASSES for name in FAULTS)
    listed = "; ".join(
        f"{say(*case.names)}: {errors[name]:.2g}".replace("\n", " ")
        for name, case in FAULTS.items()
    )
    if failed == len(FAULTS):
        subject = say("Every fault fails it", f"결함 {failed}개가 모두")
    else:
        subject = say(
            f"{failed} of {len(FAULTS)} faults fail it",
            f"결함 {len(FAULTS)}개 중 {failed}개가",
        )
    return subject + say(
        f". Relative errors: {listed}.", f" 검사를 통과하지 못한다. 상대 오차: {listed}."
    )


def network_name(toy: str, say: Say) -> str:
    """Return the name of a network with its loss."""
    squared = say("squared error", "제곱 오차")
    entropy = say("cross-entropy", "교차 엔트로피")
    return {
        "tanh": f"tanh ({squared})",
        "prelu": f"PReLU ({squared})",
        "softmax": f"softmax ({entropy})",
    }[toy]

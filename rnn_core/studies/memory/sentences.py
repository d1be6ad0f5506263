"""The findings of the study, in sentences."""

from rnn_core.reporting.figures import Say
from rnn_core.studies.memory.cell import KEPT, STEPS, Memory, Walk
from rnn_core.studies.memory.shapes import Row

ROUNDING = 1e-10  # float64 sums in another order differ by less


def of_memory(accuracy: dict[str, float], memory: Memory, walk: Walk, rows: int, say: Say) -> str:
    """Say how often the bit comes back after so many steps, and which unit keeps it."""
    right = say(
        f"One layer returns the bit of the first step after {STEPS} steps in {accuracy['one']:.1%} "
        f"of {rows} test sequences, two layers in {accuracy['deep']:.1%}. ",
        f"한 층은 첫 시점의 비트를 {STEPS}시점 뒤에 테스트 시퀀스 {rows}개 중 "
        f"{accuracy['one']:.1%}에서 되돌려 주고, 두 층은 {accuracy['deep']:.1%}에서 그렇게 한다. ",
    )
    if memory.since is None:
        return right + say(
            f"No single unit of the one layer keeps it: the best, unit {memory.unit}, has a cell "
            f"state that correlates with it by {memory.last:.2f} at the last step.",
            f"한 층의 어떤 유닛도 혼자서는 비트를 간직하지 않는다. 가장 나은 {memory.unit}번 "
            f"유닛의 셀 상태도 마지막 시점에서 비트와의 상관이 {memory.last:.2f}이다.",
        )
    forget = walk.gates["f"][:, 1:, memory.unit].mean()
    return right + say(
        f"Unit {memory.unit} of the one layer keeps it: its cell state correlates with the bit by "
        f"{KEPT} or more from step {memory.since} on and by {memory.last:.2f} at the last; its "
        f"forget gate is at {forget:.2f} on average after the first step.",
        f"한 층에서는 {memory.unit}번 유닛이 비트를 간직한다. 그 셀 상태와 비트의 상관은 "
        f"{memory.since}번째 시점부터 계속 {KEPT} 이상이고 마지막 시점에서 {memory.last:.2f}이다. "
        f"첫 시점 뒤 망각 게이트의 평균은 {forget:.2f}이다.",
    )


def of_directions(accuracy: float, learned: dict[str, int | None], say: Say) -> str:
    """Say how soon the bidirectional network learns.

    `learned` is the epoch, by network, in which the training loss falls below half a coin toss's.
    """
    both = learned["bidirectional"]
    one_layer = learned["one"]
    if both is not None and (one_layer is None or both < one_layer):
        sooner = say("it learns sooner", "그래서 더 빨리 배운다")
    else:
        sooner = say("yet it does not learn sooner", "그렇다고 더 빨리 배우지는 않는다")
    return say(
        f"The bidirectional network is right on {accuracy:.1%}. Its reverse direction reads the "
        f"bit last and has nothing to keep: {sooner} (its training loss falls below half of ln 2 "
        f"{_epoch(both, say)}, that of one layer {_epoch(one_layer, say)}).",
        f"양방향 신경망은 {accuracy:.1%}를 맞힌다. 역방향은 비트를 마지막에 읽으므로 간직할 것이 "
        f"없다. {sooner}(학습 손실이 ln 2의 절반 아래로 내려가는 때: 양방향 {_epoch(both, say)}, "
        f"한 층 {_epoch(one_layer, say)}).",
    )


def _epoch(epoch: int | None, say: Say) -> str:
    if epoch is None:
        return say("never", "없음")
    return say(f"in epoch {epoch}", f"{epoch}번째 에포크")


def of_steps(difference: float, refusal: str | None, say: Say) -> str:
    """Say how far a step at a time differs from the whole pass, and how a NaN input is refused."""
    if difference < ROUNDING:
        same = say("they are the same up to rounding", "반올림 오차 안에서 같다")
    else:
        same = say("that is more than rounding", "반올림 오차보다 크다")
    steps = say(
        f"One step at a time, with h and c handed on, and by the cell's equations the states "
        f"differ from those of the whole pass by at most {difference:.1e}: {same}. ",
        "h와 c를 넘겨주며 한 시점씩 계산한 상태와 셀의 식으로 계산한 상태는 한꺼번에 계산한 "
        f"상태와 많아야 {difference:.1e} 다르다. 즉 {same}. ",
    )
    if refusal is None:
        return steps + say("An input of NaN was not refused.", "NaN으로 된 입력이 거부되지 않았다.")
    return steps + say(
        f"An input that was never filled is refused: “{refusal}”.",
        f"초기화하지 않은 입력은 거부된다: “{refusal}”.",
    )


def of_torch(table: list[Row], say: Say) -> str:
    """Say how many arrays have torch's shapes and values."""
    arrays = len(table)
    if all(row.torch_shape is None for row in table):
        return say(
            f"torch is not installed: shapes.md has the shapes of {arrays} arrays of this project "
            "alone.",
            f"torch가 설치되어 있지 않아 shapes.md에는 이 프로젝트의 배열 {arrays}개의 형태만 "
            "있다.",
        )
    shapes = sum(row.shape == row.torch_shape for row in table)
    differences = [row.difference for row in table if row.difference is not None]
    values = sum(difference < ROUNDING for difference in differences)
    largest = max(differences, default=float("nan"))
    return say(
        f"Of {arrays} arrays (output, h_n and c_n of one layer, deep and bidirectional) {shapes} "
        f"have torch's shape and {values} torch's values up to rounding; the largest difference is "
        f"{largest:.1e}.",
        f"배열 {arrays}개(한 층, 깊은 신경망, 양방향의 output, h_n, c_n) 가운데 {shapes}개는 "
        f"torch와 형태가 같고 {values}개는 반올림 오차 안에서 값도 같다. 가장 큰 차이는 "
        f"{largest:.1e}이다.",
    )

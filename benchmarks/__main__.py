"""Run the benchmarks named on the command line, or all; exit 1 if one of them breaks a bound.

`honesty --quick` runs a tenth of it, by bounds to match. `pipeline --against COMMIT` compares the
commands of a day with those of an earlier commit.
"""

import sys
from collections.abc import Callable
from functools import partial

from benchmarks import (
    against,
    faults,
    grid,
    growth,
    pipeline,
    rounds,
    seed_loop,
    torch_nn,
    universe,
    universe_1000,
    whole_process,
)
from benchmarks.figures import COMPARED, draw
from benchmarks.honesty import judging
from benchmarks.load import ledger, runs
from rnn_core.nn.engines import kernel
from rnn_core.nn.memory import tune_process

BENCHMARKS: dict[str, Callable[[], list[str]]] = {
    "seed-loop": seed_loop.main,
    "torch": torch_nn.main,
    "grid": grid.main,
    "universe": universe.main,
    "universe-1000": universe_1000.main,
    "growth": growth.main,
    "peers": whole_process.main,
    "pipeline": pipeline.main,
    "honesty": judging.main,
    "faults": faults.main,
    "ledger": ledger.main,
    "runs": runs.main,
}
"""Each prints what it measures and returns the bounds that are broken, one sentence each."""


def main(arguments: list[str]) -> int:
    if arguments[:2] == ["pipeline", "--against"] and len(arguments) == 3:
        return ended(against.main(arguments[2]))
    names = [argument for argument in arguments if argument != "--quick"]
    quick = names != arguments
    if quick and names != ["honesty"]:
        report(f"--quick is only allowed with honesty alone (got {', '.join(names) or 'all'})")
        return 2
    chosen = BENCHMARKS | ({"honesty": partial(judging.main, quick=True)} if quick else {})
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        report(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    tune_process()
    print(", ".join(f"{name} {value}" for name, value in rounds.machine().items()))
    if not kernel.available():
        print("the kernel is not built, or turned off: NumPy alone is measured")
    broken = [sentence for name in names or chosen for sentence in chosen[name]()]
    if set(names or chosen).intersection((*COMPARED, "growth", "grid")):
        draw()
    return ended(broken)


def ended(broken: list[str]) -> int:
    for sentence in broken:
        report(sentence)
    return 1 if broken else 0


def report(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

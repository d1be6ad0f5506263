"""Run the benchmarks named on the command line, all of them if none is; exit 1 if one says that a bound is broken."""

import platform
import sys
from collections.abc import Callable
from importlib.metadata import version

from benchmarks import engines, honesty, soak

BENCHMARKS: dict[str, Callable[[], list[str]]] = {
    "engines": engines.main,
    "honesty": honesty.main,
    "soak": soak.main,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"error: no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    versions = ", ".join(f"{package} {version(package)}" for package in ("numpy", "torch"))
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {versions}")
    broken = [sentence for name in names or BENCHMARKS for sentence in BENCHMARKS[name]()]
    for sentence in broken:
        print(f"error: {sentence}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":  # not in the processes that a benchmark starts
    sys.exit(main(sys.argv[1:]))

"""The versions on which the bits of a run depend."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from threadpoolctl import threadpool_info

from flows.tracking.runs import git_commit
from rnn_core.nn.training import Fit

PACKAGES = (
    "rnnflow", "numpy", "scipy", "pandas", "scikit-learn", "statsmodels", "arch",
    "exchange-calendars", "torch",
)  # fmt: skip


def versions(fit: Fit) -> dict[str, str]:
    """Return the versions of the code, the packages and the machine, and the engine used."""
    return {"engine": fit.engine, "commit": git_commit(), **of_this_process()}


@cache
def of_this_process() -> dict[str, str]:
    """Return the versions of Python, the packages and the machine, by name."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "blas": _blas(),
        **{package: _version(package) for package in PACKAGES},
    }


def _blas() -> str:
    """Return the library that multiplies for NumPy, and the processor it has found."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    if not libraries:
        return "unknown"
    numpys = min(libraries, key=lambda library: str(library["filepath"]))  # before SciPy's
    names = ("internal_api", "version", "architecture")
    return " ".join(str(numpys.get(name)) for name in names)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

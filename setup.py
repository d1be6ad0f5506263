"""Build the compiled kernel of the NumPy engine; the rest of the package is in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("rnn_core/nn/engines/kernel")
KERNEL = Extension(
    "rnn_core.nn.engines.kernel._kernel",  # loaded by ctypes, so without Python's headers
    [str(FOLDER / "kernel.c")],
    depends=[str(header) for header in sorted(FOLDER.glob("*.h"))],
    libraries=["m"],
    extra_compile_args=["-O3", "-fno-math-errno"],  # so that square roots can be vectors
    optional=True,  # without a C compiler the installation succeeds, and NumPy computes
)

setup(ext_modules=[KERNEL])

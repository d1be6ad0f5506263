"""Build the compiled kernel of the NumPy engine; the rest of the package is in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

KERNEL = Extension(
    "rnn_core.nn.engines._kernel",  # loaded by ctypes, so without Python's headers
    ["rnn_core/nn/engines/kernel.c"],
    depends=[str(header) for header in sorted(Path("rnn_core/nn/engines").glob("kernel_*.h"))],
    libraries=["m"],
    extra_compile_args=[
        "-O3",
        "-fno-math-errno",
    ],  # square roots that report no errors can be vectors
    optional=True,  # without a C compiler the installation succeeds, and NumPy computes
)

setup(ext_modules=[KERNEL])

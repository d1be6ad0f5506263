"""The code that goes with a registered model, and how code of older models runs in this process."""

import ast
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock

import rnn_core
from flows.tracking import served_model

PACKAGE = rnn_core.__name__
ROOT = Path(rnn_core.__file__).parents[1]
# Python 3.11 may fail if two threads parse at once: "AST constructor recursion depth mismatch"
PARSING = Lock()
# A registered model brings its own copy of `rnn_core`, but a process that has imported the package
# already runs the model's served_model.py with its own. Models that were registered before modules
# moved import them by these older names.
OLDER_NAMES = {
    "rnn_core.interchange": "rnn_core.nn.checkpoints",
    "rnn_core.problems": "rnn_core.data.windows",
    "rnn_core.training": "rnn_core.nn.ensemble",
}


def copy_served_code(folder: Path) -> Path:
    """Copy the modules that a served model imports into `folder`; return the package there."""
    with PARSING:  # the first of several threads parses, the others find what it found
        files = served_files()
    for file in files:
        copy = folder / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return folder / PACKAGE


@cache
def served_files() -> frozenset[Path]:
    """Return the files of `rnn_core` that importing the served model loads.

    Only statements at the top level of a module count: an import in a function or in a block
    `if TYPE_CHECKING` is not needed to serve.
    """
    files: set[Path] = set()
    unread = [Path(served_model.__file__)]
    while unread:
        for module in _imported_modules(unread.pop()):
            new = set(_files_of(module)) - files
            files |= new
            unread += new
    return frozenset(files)


def make_older_names_importable() -> None:
    """Let the code of models that were registered before modules moved import them."""
    for older, present in OLDER_NAMES.items():
        sys.modules.setdefault(older, import_module(present))


def _imported_modules(file: Path) -> Iterator[str]:
    """Yield the names a module imports: also `package.name` for a name, which may be a module."""
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def _files_of(module: str) -> Iterator[Path]:
    """Yield the file of a module of `rnn_core`, and the `__init__.py` of each package above it."""
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return
    path = ROOT
    for part in parts:
        path /= part
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.exists():
                yield file

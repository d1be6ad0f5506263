"""docs/extending.md works: each section is applied to a copy of the tree and run there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import FENCED, ROOT, read, sections, session

SECTIONS = {
    title: text for title, text in sections(read("docs/extending.md")).items() if "```diff" in text
}


def write_and_run(section: str, folder: Path) -> None:
    """Change the tree in `folder` as the section says, then run its session there."""
    written = []
    for block in FENCED.finditer(section):
        if block["path"]:
            (folder / block["path"]).write_text(block["text"], encoding="utf-8")
            written.append(block["path"])
        elif block["language"] == "diff":
            written.append(apply_diff(block["text"], folder))
    run("ruff", "check", "--no-cache", *written, folder=folder)
    assert session(section), "the section shows nothing that runs"
    (folder / "session.txt").write_text(session(section), encoding="utf-8")
    run("doctest", "-o", "ELLIPSIS", "session.txt", folder=folder)


def apply_diff(diff: str, folder: Path) -> str:
    """Change the file that the diff names, hunk by hunk; return its path."""
    head, *hunks = diff.split("@@\n")
    path = head.removeprefix("--- ").strip()
    text = (folder / path).read_text(encoding="utf-8")
    for hunk in hunks:
        text = change(path, text, hunk)
    (folder / path).write_text(text, encoding="utf-8")
    return path


def change(path: str, text: str, hunk: str) -> str:
    """Return the text of `path` after a hunk; what that keeps or takes away must be there once."""
    lines = [line if line.strip() else " \n" for line in hunk.splitlines(keepends=True)]
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    line_start = re.compile(f"^(?={re.escape(before)})", re.MULTILINE)
    places = [match.start() for match in line_start.finditer(text)]
    if len(places) != 1:
        found = f"these lines are in {path} {len(places)} times, not once"
        pytest.fail(f"docs/extending.md: {found}:\n{before}")
    start = places[0]
    return text[:start] + after + text[start + len(before) :]


def run(module: str, *arguments: str, folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"docs/extending.md, by {module}:\n{done.stdout}{done.stderr}")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of both packages."""
    for package in ("rnn_core", "flows"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_kind_of_part_has_a_section() -> None:
    kinds = ("feature", "source", "baseline", "loss", "cell", "study")
    assert list(SECTIONS) == [f"A {kind}" for kind in kinds]


@pytest.mark.parametrize("title", SECTIONS)
def test_what_a_section_says_works(title: str, tree: Path) -> None:
    write_and_run(SECTIONS[title], tree)


def test_a_line_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("b = 1\nb = 1\n")
    for line, times in (("a = 1", 0), ("b = 1", 2)):
        message = rf"these lines are in module\.py {times} times, not once:\n{line}\n"
        with pytest.raises(pytest.fail.Exception, match=message):
            apply_diff(f"--- module.py\n@@\n {line}\n+c = 2\n", tmp_path)


def test_a_session_that_goes_otherwise_is_shown(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "module.py").write_text("a = 1\n")
    diff = "```diff\n--- module.py\n@@\n-a = 1\n+a = 2\n```\n"
    shown = "```python\n>>> import module\n>>> module.a\n1\n```\n"
    with pytest.raises(pytest.fail.Exception, match=r"Expected:\n +1\nGot:\n +2\n"):
        write_and_run(f"{diff}\n{shown}", tmp_path)

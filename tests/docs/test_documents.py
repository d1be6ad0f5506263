"""The documents tell the truth: their sessions run, and every name and link leads somewhere."""

import ast
import doctest
import re
import tomllib

import pytest
from documents import FENCED, ROOT, read, session

PAGES = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/extending.md")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)")
WINGS = sorted(
    path.name for path in (ROOT / "rnn_core").iterdir() if (path / "__init__.py").exists()
)


def test_the_session_of_the_architecture_goes_as_shown() -> None:
    text = session(read("docs/architecture.md"))
    test = doctest.DocTestParser().get_doctest(text, {}, "architecture", None, None)
    assert len(test.examples) > 15
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_wings_are_drawn_in_the_order_of_the_import_contract() -> None:
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    drawings = [block["text"] for block in FENCED.finditer(read("docs/architecture.md"))]
    (drawing,) = [text for text in drawings if text.startswith("flows ")]
    drawn = re.findall(r"^(\w+) ", drawing, re.MULTILINE)
    assert drawn == [layer.removeprefix("rnn_core.") for layer in layers]
    assert sorted(drawn) == sorted([*WINGS, "flows"])


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    prose = FENCED.sub("", read(page))
    names = re.findall(r"`((?:rnn_core|flows|tests|benchmarks|docs)[\w./]*)`", prose)
    assert names
    assert [name for name in names if not exists(name)] == []


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "docs/real-prices.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    links = LINK.findall(FENCED.sub("", read(page)))
    assert links
    for path, heading in links:
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page} links to {path}"
        assert not heading or heading in headings(target.read_text(encoding="utf-8"))


def headings(text: str) -> set[str]:
    """Return the names under which the headings of a page are linked to."""
    titles = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def exists(name: str) -> bool:
    """Return True if `name` is a path, or the dotted name of a module or of what one defines."""
    if (ROOT / name).exists():
        return True
    *parents, last = name.split(".")
    parent = ROOT.joinpath(*parents)
    if (parent / last / "__init__.py").exists() or (parent / f"{last}.py").exists():
        return True
    modules = [parent.with_suffix(".py"), parent / "__init__.py"]
    return any(last in defined(module.read_text()) for module in modules if module.exists())


def defined(source: str) -> set[str]:
    """Return the names that a module defines or imports, also those that it only exports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names

"""What the README shows is what happens."""

import doctest
import json
import re
from pathlib import Path

from rnn_core.studies import LESSONS

CHECKOUT = Path(__file__).parents[1]


def test_the_library_examples_run_as_shown() -> None:
    found = doctest.testfile(str(CHECKOUT / "README.md"), module_relative=False, encoding="utf-8")
    assert found.attempted >= 9
    assert found.failed == 0


def test_every_file_that_the_pages_show_or_link_to_is_there() -> None:
    for page in (CHECKOUT / "README.md", CHECKOUT / "docs" / "real-prices.md", CHECKOUT / "docs" / "studies.md"):
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'src="([^"]+)"', text)
        assert links
        assert [link for link in links if not link.startswith("http") and not (page.parent / link).exists()] == []


def test_every_ratio_was_measured() -> None:
    results = (CHECKOUT / "benchmarks" / "results").glob("*.json")
    rows = [row for path in results for row in json.loads(path.read_text())["rows"] if "ratio" in row]
    measured = {f"{row['ratio']:.3g}" for row in rows}
    shown = re.findall(r"\| ([\d.]+) × ", (CHECKOUT / "README.md").read_text(encoding="utf-8"))
    assert len(shown) == 2 * 14
    assert set(shown) <= measured


def test_every_lesson_is_in_the_gallery_with_each_of_its_figures() -> None:
    readme, page = ((CHECKOUT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/studies.md"))
    for name in LESSONS:
        assert f"| `{name}`<br>" in readme
        assert f"\n## {name}\n" in page
        figures = list((CHECKOUT / "docs/images/studies" / name).iterdir())
        assert figures
        assert all(f"images/studies/{name}/{figure.name})" in page for figure in figures)

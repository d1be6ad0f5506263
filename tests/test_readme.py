"""What the README shows is what happens."""

import doctest
import json
import re
from pathlib import Path

from rnn_core.studies import STUDIES

CHECKOUT = Path(__file__).parents[1]


def test_the_library_examples_run_as_shown() -> None:
    found = doctest.testfile(str(CHECKOUT / "README.md"), module_relative=False, encoding="utf-8")
    assert found.attempted >= 9
    assert found.failed == 0


def test_every_file_that_the_pages_show_or_link_to_is_there() -> None:
    for page in (
        CHECKOUT / "README.md",
        CHECKOUT / "docs" / "real-prices.md",
        CHECKOUT / "docs" / "studies.md",
    ):
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'src="([^"]+)"', text)
        assert links
        assert [
            link
            for link in links
            if not link.startswith("http") and not (page.parent / link).exists()
        ] == []


def test_every_pair_of_ratios_was_measured() -> None:
    measured = []
    for name in ("seed-loop", "torch", "universe", "peers"):
        rows = json.loads((CHECKOUT / "benchmarks" / "results" / f"{name}.json").read_text())[
            "rows"
        ]
        ratios = {
            (row["case"], row["against"], row["kernel"]): f"{row['ratio']:.3g}" for row in rows
        }
        measured += [
            (ratios[*what, False], own) for (*what, kernel), own in ratios.items() if kernel
        ]
    shown = re.findall(
        r"\| ([\d.]+) × \| ([\d.]+) × \|", (CHECKOUT / "README.md").read_text(encoding="utf-8")
    )
    assert len(shown) == 14
    assert set(shown) <= set(measured)


def test_every_study_is_in_the_gallery_with_each_of_its_figures() -> None:
    readme, page = (
        (CHECKOUT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/studies.md")
    )
    for name in STUDIES:
        assert f"| `{name}`<br>" in readme
        assert f"\n## {name}\n" in page
        figures = list((CHECKOUT / "docs/images/studies" / name).iterdir())
        assert figures
        assert all(f"images/studies/{name}/{figure.name})" in page for figure in figures)

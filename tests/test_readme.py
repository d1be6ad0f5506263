"""What the README shows is what happens."""

import doctest
import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def test_the_library_examples_run_as_shown() -> None:
    found = doctest.testfile(str(CHECKOUT / "README.md"), module_relative=False, encoding="utf-8")
    assert found.attempted >= 9
    assert found.failed == 0


def test_every_file_that_the_pages_show_or_link_to_is_there() -> None:
    for page in (CHECKOUT / "README.md", CHECKOUT / "docs" / "real-prices.md"):
        links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        assert links
        assert [link for link in links if not link.startswith("http") and not (page.parent / link).exists()] == []

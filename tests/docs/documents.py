"""What the tests of the documents read from them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCED = re.compile(
    r"(?:New file `(?P<path>[^`]+)`:\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


def read(name: str) -> str:
    """Return the text of a document by its path from the root."""
    return (ROOT / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Return the text under each heading of the second level."""
    _, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return dict(part.split("\n", 1) for part in parts)


def session(text: str) -> str:
    """Return everything that the text shows at a Python prompt, in order."""
    blocks = [block["text"] for block in FENCED.finditer(text)]
    return "\n".join(block for block in blocks if block.startswith(">>> "))

"""The code that goes with a registered model."""

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from time import sleep
from typing import Any

import pytest

from flows.tracking import served_code


def test_the_threads_of_a_universe_parse_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Python 3.11 fails if two parse at once."""
    parsing = Lock()
    parse = ast.parse
    parsed = []

    def alone(*given: Any, **options: Any) -> Any:
        assert parsing.acquire(blocking=False), "another thread is at it"
        try:
            sleep(0.001)
            parsed.append(given)
            return parse(*given, **options)
        finally:
            parsing.release()

    monkeypatch.setattr(ast, "parse", alone)
    served_code.served_files.cache_clear()
    folders = [tmp_path / str(number) for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        copies = list(threads.map(served_code.copy_served_code, folders))
    assert parsed
    contents = [sorted(path.relative_to(copy) for path in copy.rglob("*.py")) for copy in copies]
    assert contents[0]
    assert all(content == contents[0] for content in contents)

"""Files that are no prices: an error says what is wrong with them, and nothing that is in them."""

import json
import os
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from rnn_core.config import File
from rnn_core.data.loading import load
from rnn_core.errors import DataError

SECRET = "s3same0pen"
NOW = datetime(2026, 11, 20, 22, tzinfo=UTC)
KEY = (SECRET * 8)[:64]


def parquet(**columns: object) -> Callable[[Path], None]:
    return lambda path: pd.DataFrame(columns).to_parquet(path)


def damaged_parquet(path: Path) -> None:
    parquet(**{SECRET: [SECRET] * 50})(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"schema", b"SCHEMA")[:-30] + content[-8:])


FILES: dict[str, "str | bytes | Callable[[Path], None]"] = {
    "passwd": f"root:x:0:0:{SECRET}:/root:/bin/bash\ndaemon:*:1:1::/:{SECRET}\n" * 3,
    "an ini": f"[database]\nuser = me\npassword = {SECRET}\n",
    "an env": f"export AWS_SECRET_ACCESS_KEY={SECRET}\nTOKEN={SECRET}\n",
    "a private key": f"-----BEGIN PRIVATE KEY-----\n{KEY}\n{KEY}\n-----END PRIVATE KEY-----\n",
    "JSON": json.dumps({"users": [{"name": "me", "password": SECRET}]}, indent=1),
    "JSON in one line": json.dumps({"token": SECRET}) + "\n",
    "YAML": f"user: me\npassword: {SECRET}\nhosts: [a, b, {SECRET}]\n",
    "a log": f"2026-11-20 10:00:00 INFO login, token={SECRET}\n2026-11-20 10:00:01 WARN {SECRET}\n",
    "a log as CSV": f"time,level,last\n2026-11-20,INFO,{SECRET}\n2026-11-21,INFO,{SECRET}\n",
    "a table of passwords": f"user,{SECRET}\nme,{SECRET}\n",
    "a table of days": f"day,note\n2026-11-20,{SECRET}\n",
    "a table of days, named by letters": f"Date;{SECRET}\n2026-11-20;{SECRET}\n",
    "a table of prices without days": f"price,{SECRET}\n1.5,{SECRET}\n",
    "numbers and text": f"date,close\n{SECRET},{SECRET}\n{SECRET}1,{SECRET}\n",
    "a long line": f"{SECRET}," * 2000,
    "a field that never ends": f'date,close\n2026-11-20,"{SECRET}' + "x" * 200_000,
    "longer rows": f"a,b\n{SECRET},{SECRET},{SECRET}\n",
    "binary": struct.pack("<4I", 1, 2, 3, 4) + SECRET.encode() + bytes(range(256)),
    "UTF-16 cut short": b"\xff\xfe" + f"date,{SECRET}".encode("utf-16-le") + b"a",
    "nothing of a Parquet file": b"PAR1" + SECRET.encode() * 9,
    "a damaged Parquet file": damaged_parquet,
    "a Parquet file of passwords": parquet(user=["me"], **{SECRET: [SECRET]}),
    "a Parquet file of pairs": parquet(
        **{f"('{SECRET}', 'a')": [1.0], f"('b', '{SECRET}')": [2.0]}
    ),
    "a Parquet file of days": parquet(date=[SECRET], close=[SECRET]),
    "a download of nothing": f"Price,{SECRET},x\nTicker,{SECRET}A,{SECRET}\nDate,,\n1,1,2\n",
}


@pytest.mark.parametrize("kind", FILES)
def test_an_error_quotes_nothing_of_a_file_that_is_no_table_of_prices(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "given"
    content = FILES[kind]
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    with pytest.raises(DataError) as refused:
        load(File(path=path), "MSFT", NOW)
    message = str(refused.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
    for start in range(len(SECRET) - 5):
        assert SECRET[start : start + 6] not in message


@pytest.mark.parametrize("option", ["date_column", "price_column"])
def test_a_column_that_is_named_by_the_user_is_not_quoted_if_it_holds_text(
    option: str, tmp_path: Path
) -> None:
    path = tmp_path / "given.csv"
    rows = "\n".join(f"2026-11-{day},{day},{SECRET}{day}" for day in range(10, 20))
    path.write_text(f"date,close,password\n{rows}\n")
    other = {"date_column": "price_column", "price_column": "date_column"}[option]
    for named in ({}, {other: "password"}):
        with pytest.raises(DataError) as refused:
            load(File.model_validate({"path": path, option: "password", **named}), "MSFT", NOW)
        if option == "price_column" or named:
            assert SECRET not in str(refused.value)


def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "given.csv"
    path.write_text(f"date,close\n2026-11-20,{SECRET}\n")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(DataError, match="cannot be read as CSV or Parquet: Permission denied"):
        load(File(path=path), "MSFT", NOW)

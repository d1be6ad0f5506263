"""Processes that are killed before one of their writes to a database.

The processes are forked from one that has imported everything and opened nothing.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event

WRITES = ("INSERT", "UPDATE", "DELETE")
WRITTEN = "written"  # of a connection: its transaction has changed something

T = TypeVar("T")


def in_a_process(work: Callable[..., T], *arguments: Any) -> T:
    """Return what `work` returns in a process of its own; raise an error that it raises."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(work, arguments)


def killed_before_write(number: int, work: Callable[..., object], *arguments: Any) -> str | None:
    """Kill a process before its write `number`, and return the write; None if it made fewer.

    A write is a statement that changes a table, or the end of its transaction, in any database.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work_and_die, args=(number, sender, work, arguments))
    process.start()
    sender.close()
    process.join(120)
    if process.exitcode == 0:
        return None
    assert process.exitcode == -signal.SIGKILL, f"write {number}: ended with {process.exitcode}"
    write: str = receiver.recv()
    return write


def _work_and_die(number: int, sender: Any, work: Callable[..., object], arguments: Any) -> None:
    writes = 0

    def count(write: str) -> None:
        nonlocal writes
        writes += 1
        if writes == number:
            sender.send(write)
            os.kill(os.getpid(), signal.SIGKILL)

    @event.listens_for(Engine, "before_cursor_execute")
    def _statement(connection: Connection, _: Any, statement: str, *__: Any) -> None:
        if statement.lstrip().upper().startswith(WRITES):
            count(" ".join(statement.split()[:3]))
            connection.info[WRITTEN] = True

    @event.listens_for(Engine, "commit")
    def _end_of_transaction(connection: Connection) -> None:
        if connection.info.pop(WRITTEN, False):
            count("COMMIT")

    work(*arguments)

"""Processes that are killed before one of their writes, or after a while.

The processes are forked from one that has imported everything and opened nothing. A write is a
statement that changes a table, the end of its transaction, or a change below the working folder.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event

STATEMENTS = ("INSERT", "UPDATE", "DELETE")
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
DELETES = ("os.remove", "os.rmdir")
OPENS_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT
WRITTEN = "written"  # of a connection: its transaction has changed something
LONGEST = 300  # seconds that a work may take

T = TypeVar("T")


def in_a_process(work: Callable[..., T], *arguments: Any) -> T:
    """Return what `work` returns in a process of its own; raise an error that it raises."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, work, arguments))
    process.start()
    sender.close()
    try:
        if not receiver.poll(LONGEST):
            raise TimeoutError(f"it takes more than {LONGEST} s")
        answer: tuple[T, Exception | None] = receiver.recv()
    finally:
        process.kill()
        process.join()
    result, error = answer
    if error is not None:
        raise error
    return result


def killed_before_write(number: int, work: Callable[..., object], *arguments: Any) -> str | None:
    """Kill a process before its write `number`, and return the write; None if it made fewer."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work_and_die, args=(number, sender, work, arguments))
    process.start()
    sender.close()
    if not _was_killed(process, LONGEST):
        return None
    write: str = receiver.recv()
    return write


def killed_after(seconds: float, work: Callable[..., object], *arguments: Any) -> bool:
    """Kill a process after a while, and return True; return False if it ends before that."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join(seconds)
    process.kill()
    return _was_killed(process, LONGEST)


def count_of_writes(work: Callable[..., object], *arguments: Any) -> int:
    """Return how many writes an undisturbed process makes."""
    return in_a_process(_counted, work, arguments)


def on_each_write(found: Callable[[str], None]) -> None:
    """Call `found` before each write of this process, with a few words that say what it is."""

    @event.listens_for(Engine, "before_cursor_execute")
    def _statement(connection: Connection, _: Any, statement: str, *__: Any) -> None:
        if statement.lstrip().upper().startswith(STATEMENTS):
            found(" ".join(statement.split()[:3]))
            connection.info[WRITTEN] = True

    @event.listens_for(Engine, "commit")
    def _end_of_transaction(connection: Connection) -> None:
        if connection.info.pop(WRITTEN, False):
            found("COMMIT")

    folder = Path.cwd()

    def change(name: str, arguments: tuple[Any, ...]) -> None:
        writes = name in CHANGES or (name == "open" and arguments[2] & OPENS_TO_WRITE)
        if writes and isinstance(arguments[0], str | os.PathLike):
            # Python deletes a tree by names in open folders
            is_in_open = name in DELETES and arguments[-1] >= 0
            base = f"/proc/self/fd/{arguments[-1]}" if is_in_open else folder
            path = Path(os.path.realpath(Path(base, arguments[0])))
            if path.is_relative_to(folder):
                found(f"{name} {path.relative_to(folder)}")

    sys.addaudithook(change)


def _answer(sender: Any, work: Callable[..., object], arguments: Any) -> None:
    try:
        answer = work(*arguments), None
    except Exception as error:  # noqa: BLE001  it is raised where it was asked for
        answer = None, error
    sender.send(answer)


def _was_killed(process: BaseProcess, seconds: float) -> bool:
    process.join(seconds)
    assert process.exitcode in (0, -signal.SIGKILL), f"ended with {process.exitcode}"
    return process.exitcode != 0


def _work_and_die(number: int, sender: Any, work: Callable[..., object], arguments: Any) -> None:
    writes = 0

    def count(write: str) -> None:
        nonlocal writes
        writes += 1
        if writes == number:
            sender.send(write)
            os.kill(os.getpid(), signal.SIGKILL)

    on_each_write(count)
    work(*arguments)


def _counted(work: Callable[..., object], arguments: Any) -> int:
    writes: list[str] = []
    on_each_write(writes.append)
    work(*arguments)
    return len(writes)

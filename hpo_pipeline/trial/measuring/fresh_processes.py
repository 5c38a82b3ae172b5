"""Fresh processes, in which something is repeated: forked from one that was set aside.

A process that loads torch anew takes seconds, a fork milliseconds. But a process that has computed
may not be forked: the threads of its pools do not survive it. So one is forked before anything is
computed; it waits, and forks a process for each call. It ends with the process that set it aside.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any, NoReturn, Self

PATIENCE = 120.0
"""Seconds for one answer; on a busy machine it takes half a minute to load a model."""
_PR_SET_PDEATHSIG = 1


class ProcessLost(Exception):
    """A fresh process gave no answer; the message says why."""


class Spare:
    """A process that was set aside; as a context manager it ends with its block."""

    def __init__(self) -> None:
        """Set it aside: this process must not have computed with torch on several threads."""
        self._connection, other = Pipe()
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads that wait, as here
            self._process = os.fork()
        if self._process == 0:
            _wait(other, parent)
        other.close()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function of a module gives in a fresh process.

        Raises:
            ProcessLost: it raised, died, or took longer than PATIENCE.
        """
        try:
            _send(self._connection, (function, arguments))
            if not self._connection.poll(PATIENCE):
                self.end()
                raise ProcessLost(f"no answer within {PATIENCE:.0f} s")
            is_answer, found = pickle.loads(self._connection.recv_bytes())
        except (OSError, EOFError, pickle.PickleError, TypeError, AttributeError) as error:
            raise ProcessLost(f"{type(error).__name__}: {error}") from error
        if not is_answer:
            raise ProcessLost(str(found))
        return found

    def end(self) -> None:
        """End the process, and the one that it may have forked."""
        self._connection.close()
        if self._process:
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
        self._process = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


def die_with_parent(parent: int) -> None:
    """Ask the kernel (Linux) for a SIGKILL when the parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _wait(connection: Connection, parent: int) -> NoReturn:
    """Fork a process for each call, in the process that was set aside."""
    die_with_parent(parent)
    # An engine signals the whole group of a trial, which may then be measured all the same.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _let_go(connection.fileno())
    here = os.getpid()
    while True:
        try:
            content = connection.recv_bytes()
        except (OSError, EOFError):
            os._exit(0)
        child = os.fork()
        if child == 0:
            die_with_parent(here)
            _answer(connection, content)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != 0:
            _send(connection, (False, f"it ended with exit code {code}"))


def _answer(connection: Connection, content: bytes) -> NoReturn:
    code = 1
    try:
        function, arguments = pickle.loads(content)
        _send(connection, (True, function(*arguments)))
        code = 0
    # Whatever it raises, the caller hears of it.
    except Exception as error:
        _send(connection, (False, f"{type(error).__name__}: {error}"))
        code = 0
    finally:
        os._exit(code)


def _send(connection: Connection, message: tuple[Any, ...]) -> None:
    """Send by a plain pickle: Connection.send puts tensors into memory that processes share, which
    leaves a folder behind where one of them ends without cleaning up."""
    connection.send_bytes(pickle.dumps(message))


def _let_go(kept: int) -> None:
    """Give back the files of the parent, such as its locks and sockets, all but the standard ones.

    Their numbers stay taken: objects of Python still believe that they are theirs to close.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/dev/fd"):
        number = int(name)
        if number > 2 and number not in (kept, nothing):
            try:
                os.fstat(number)
            except OSError:
                continue  # of the listing itself
            os.dup2(nothing, number)

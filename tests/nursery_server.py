"""The process that tests/nursery.py starts: it has loaded what programs load, and forks them.

python tests/nursery_server.py ADDRESS PARENT      a socket, and the process it ends with
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import io
import json
import locale
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

MODEL = "transformers.models.bert.modeling_bert"
"""Of most tests; the server of a run loads it, that of a fake cluster not."""
LOADED_FOR = {
    "hpo": ("hpo_pipeline.cli.running", "datasets", "optuna"),
    "hpo_pipeline.reports.html": ("hpo_pipeline.reports.html.page", "pandas", "plotly"),
    "kfp.dsl.executor_main": ("kfp.dsl.executor_main", "hpo_pipeline.kubeflow.steps", "optuna"),
}
"""What a program loads that servers do not: by them all, once one was asked for."""


def serve(address: str, parent: int) -> None:
    """Load what servers need; fork one, or a program, for each connection."""
    from hpo_pipeline.engines.local import server
    from hpo_pipeline.tasks import TASKS
    from hpo_pipeline.trial.measuring.fresh_processes import die_with_parent

    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in {MODEL, *(name for kind in TASKS.values() for name in kind.measured_by)}:
        importlib.import_module(module)
    server.load_modules()
    _nursery().use_here()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    here = os.getpid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        while True:
            client, _ = listener.accept()
            content, descriptors, _, _ = socket.recv_fds(client, 1 << 20, 3)
            while not content.endswith(b"\n"):
                content += client.recv(1 << 20)
            request = json.loads(content)
            for module in LOADED_FOR.get(request.get("program", ""), ()):
                importlib.import_module(module)
            pid = os.fork()
            if pid == 0:
                listener.close()
                die_with_parent(here)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                if "program" in request:
                    _keep(request, client, descriptors)
                client.close()
                _become(request, partial(_serve, *descriptors))
            if "program" not in request:
                client.sendall(str(pid).encode())
            client.close()
            for descriptor in descriptors:
                os.close(descriptor)


def _keep(request: dict[str, Any], client: socket.socket, streams: Sequence[int]) -> NoReturn:
    """Fork a program and tell its client how it ended; if the client goes, end the program."""
    from hpo_pipeline.trial.measuring.fresh_processes import die_with_parent

    here = os.getpid()
    pid = os.fork()
    if pid == 0:
        client.close()
        die_with_parent(here)
        _become(request, partial(_program, request, streams))
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(pid)
    if ended not in select.select([ended, client], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        client.sendall(str(code).encode())
    os._exit(0)


def _become(request: dict[str, Any], play: Callable[[], int]) -> NoReturn:
    """Be what was asked for, in the folder and the environment of who asked."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:0] = [entry for entry in added if entry and entry not in sys.path]
        code = play()
    finally:
        os._exit(code)


def _serve(connection: int, log: int) -> int:
    from hpo_pipeline.engines.local.server import Server

    os.dup2(log, 1)
    os.dup2(log, 2)
    Server(socket.socket(fileno=connection)).serve()
    return 0


def _program(request: dict[str, Any], streams: Sequence[int]) -> int:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    text = partial(io.open, encoding=locale.getpreferredencoding(False), closefd=False)
    sys.stdin, sys.stdout, sys.stderr = text(0), text(1, "w"), text(2, "w", buffering=1)
    code: object = 0
    try:
        if request["program"] == "hpo":
            from hpo_pipeline.cli.main import main

            code = main(request["arguments"])
        else:
            sys.argv = [request["program"], *request["arguments"]]
            module = importlib.util.find_spec(request["program"])
            if module is not None and module.submodule_search_locations is None:
                sys.modules.pop(module.name, None)  # or runpy warns of it
            runpy.run_module(request["program"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # what the interpreter does at its end, as far as programs notice
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def _nursery() -> ModuleType:
    """Return tests/nursery.py, without putting the tests where programs look for modules."""
    spec = importlib.util.spec_from_file_location("nursery", Path(__file__).with_name("nursery.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))

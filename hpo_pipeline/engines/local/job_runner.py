"""Jobs beside the search as processes of this machine: children of the process server."""

from __future__ import annotations

import selectors
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.local import hardware
from hpo_pipeline.engines.local.server_client import Exit, ProcessServer, cause_of_death
from hpo_pipeline.results.files import DISK_FULL_EXIT
from hpo_pipeline.results.job import Job, JobOutput, parse_answer
from hpo_pipeline.results.run_folder import RunFolder

MAX_KILLS = 3
TICK = 1.0


class JobRunner:
    """Runs jobs of one run, at most `slots` at a time.

    Args:
        argv: the arguments of a job with its places, given the job and the file for its answer.
        ended: hears of each output as it comes.
        environment: variables of all of them.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        slots: int,
        argv: Callable[[Job, Path], list[str]],
        ended: Callable[[JobOutput], None],
        environment: Mapping[str, str],
    ) -> None:
        self._folder = folder
        self._slots = slots
        self._argv = argv
        self._ended = ended
        self._environment = environment
        self._gpus = hardware.gpus()
        self._kills: dict[str, int] = {}
        self.outputs: dict[str, JobOutput] = {}

    def run(
        self, jobs: Sequence[Job], server: ProcessServer, interruption: Interruption
    ) -> list[JobOutput]:
        """Run the jobs that have no output yet; return all outputs in the order of the jobs.

        Raises:
            ServerDied: call it again with a new server; outputs so far are kept.
            RunFolderError: the disk is full.
            Interrupted: by Ctrl-C or SIGTERM.
        """
        waiting = [job for job in jobs if job.name not in self.outputs]
        running: dict[int, Job] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(server.connection, selectors.EVENT_READ)
            selector.register(interruption.wake, selectors.EVENT_READ)
            while waiting or running:
                while waiting and len(running) < self._slots:
                    slot = next(i for i in range(self._slots) if i not in running)
                    running[slot] = waiting.pop(0)
                    self._start(running[slot], slot, server)
                selector.select(timeout=TICK)
                interruption.check()
                for exit_ in server.poll(wait=False):
                    slot = next((s for s, j in running.items() if j.name == exit_.job), -1)
                    if slot >= 0 and not self._has_output(exit_):
                        waiting.append(running.pop(slot))
                    else:
                        running.pop(slot, None)
        return [self.outputs[job.name] for job in jobs]

    def _start(self, job: Job, slot: int, server: ProcessServer) -> None:
        place = self._folder.job(job.name)
        place.mkdir(parents=True, exist_ok=True)
        self._answer(job.name).unlink(missing_ok=True)
        server.start(
            job.name,
            "job",
            [job.kind, *self._argv(job, self._answer(job.name))],
            log=place / "log.txt",
            environment={**hardware.visible(self._gpus, slot), **self._environment},
        )

    def _has_output(self, ended: Exit) -> bool:
        """Take the output of a job that has ended; False where it is to be run again."""
        name = ended.job
        if ended.code == DISK_FULL_EXIT:
            raise self._folder.disk_full()
        answer = self._read(name)
        if answer is None and ended.code == -signal.SIGKILL:
            self._kills[name] = self._kills.get(name, 0) + 1
            if self._kills[name] < MAX_KILLS:
                return False
        reason = "" if answer else cause_of_death(ended, self._folder.job(name) / "log.txt")
        self.outputs[name] = JobOutput(name, answer, reason)
        self._ended(self.outputs[name])
        return True

    def _read(self, name: str) -> dict[str, object] | None:
        try:
            return parse_answer(self._answer(name).read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def _answer(self, name: str) -> Path:
        return self._folder.job(name) / "answer.json"

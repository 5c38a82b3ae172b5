"""`python -m hpo_pipeline.trial`: run one trial and leave its result.

Exit codes: 0 there is a result (of a trial that was stopped early too), 1 the trial failed and
`result.json` says why, 2 it was started wrongly. Without a result, so that it is rerun: 74 the disk
is full, 75 the engine that started it is gone, 143 it was cut off by SIGTERM. What it saved of its
training (`task.checkpoint`) stays then, and it resumes there.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.data.storage import UriStorage
from hpo_pipeline.errors import DataError, ExperimentError, TrialError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.results.files import (
    CHECKPOINT_FOLDER,
    DISK_FULL_EXIT,
    MODEL_FOLDER,
    RESULT_FILE,
    RESUME_FOLDER,
    TRAINER_FOLDER,
    write_json,
)
from hpo_pipeline.results.job import write_answer
from hpo_pipeline.results.trial import Trial, TrialState, read_trial
from hpo_pipeline.trial.command import TrialCommand, parse
from hpo_pipeline.trial.names import QUIET_VARIABLE, TOKEN_VARIABLE
from hpo_pipeline.trial.reporting.process_log import configure
from hpo_pipeline.trial.reporting.reporter import (
    Channel,
    EngineGone,
    MetricLines,
    Reporter,
    Several,
)
from hpo_pipeline.trial.reporting.stop_request import StopRequest
from hpo_pipeline.trial.reporting.tracing import process_span

logger = logging.getLogger(__name__)

ENGINE_GONE_EXIT = 75
LOG_LINES = "%(asctime)s %(levelname)s %(message)s"


def main(argv: Sequence[str]) -> int:
    """Run the trial that the arguments describe and return the exit code."""
    logging.getLogger("hpo_pipeline").setLevel(logging.INFO)
    try:
        command = parse(argv)
    except ExperimentError as error:
        print(error, file=sys.stderr)
        return 2
    configure(LOG_LINES, trial=command.name)
    with process_span("trial", trial=command.name):
        return _run(command)


def _run(command: TrialCommand) -> int:
    """Run a trial; return the exit code."""
    try:
        stop = StopRequest(is_told_by_signal=command.channel is not None)
        experiment = load(command.experiment)
        assignments = _assignments(experiment, command)
        folder = command.output / command.name
        folder.mkdir(parents=True, exist_ok=True)
    except (ExperimentError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    reporter, use_data = _reporter(command, experiment, stop)
    try:
        trial = _result(experiment, command, assignments, reporter, stop, use_data)
    except EngineGone:
        print("the engine that started this trial is gone; it leaves no result", file=sys.stderr)
        _forget_model(folder)
        return ENGINE_GONE_EXIT
    if trial is None:
        return DISK_FULL_EXIT
    storage = UriStorage(command.storage) if command.storage is not None else None
    try:
        write_json(folder / RESULT_FILE, trial.to_json())
        # Before the folder is copied; in the storage, only when the result is there.
        shutil.rmtree(folder / RESUME_FOLDER, ignore_errors=True)
        if storage is not None:
            storage.put(folder)
            _forget_checkpoints(storage, folder)
    except OSError as error:
        print(f"{folder}: the result cannot be written: {error}", file=sys.stderr)
        return DISK_FULL_EXIT
    stop.ignore()  # what is left to do takes moments, and without it nobody learns of the result
    reporter.finished(trial)
    if command.answer is not None:
        content = {**trial.to_json(), "curve": []}
        write_answer(command.answer, content, spare=("environment", "seconds"))
    return 1 if trial.state == TrialState.FAILED else 0


def _assignments(experiment: Experiment, command: TrialCommand) -> dict[str, Value]:
    try:
        return experiment.space.active(experiment.space.parse(command.assignments))
    except ValueError as error:
        raise ExperimentError("--set", [str(error)]) from error


def _result(
    experiment: Experiment,
    command: TrialCommand,
    assignments: dict[str, Value],
    reporter: Reporter,
    stop: StopRequest,
    use_data: Callable[[str], None],
) -> Trial | None:
    """Return the finished or failed trial, or None where the disk is full."""
    from hpo_pipeline.trial.train import run_trial
    from hpo_pipeline.trial.training.callback import Progress
    from hpo_pipeline.trial.training.trainings import TrialSpec

    folder = command.output / command.name
    progress = Progress()
    try:
        dataset = command.dataset or _prepared(experiment, command)
        meta = DatasetMeta.read(dataset)
        meta.require(command.data)
        use_data(meta.fingerprint)
        spec = TrialSpec(
            name=command.name,
            number=command.number,
            assignments=assignments,
            dataset=dataset,
            folder=folder,
            resume=_parent(command),
            seed=experiment.search.seed if command.seed is None else command.seed,
            storage=UriStorage(command.storage) if command.storage is not None else None,
            is_judged=command.channel is not None or command.stopping is not None,
            quiet=Path(quiet) if (quiet := os.environ.get(QUIET_VARIABLE)) else None,
        )
        return run_trial(experiment, spec, reporter=reporter, stop=stop, progress=progress)
    except EngineGone:
        raise
    except (TrialError, DataError) as error:
        reason = str(error)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            print(f"no space left on the device for {folder}", file=sys.stderr)
            return None
        logger.exception("the trial failed")
        reason = f"{type(error).__name__}: {error}"
    # Whatever the configuration made the libraries raise, it is this trial's failure and must
    # not end the search; the log keeps the traceback.
    except Exception as error:
        if "No space left on device" in str(error):  # safetensors does not raise OSError
            print(f"no space left on the device for {folder}", file=sys.stderr)
            return None
        logger.exception("the trial failed")
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    print(f"the trial failed: {reason}", file=sys.stderr)
    _forget_model(folder)
    failed = Trial(
        command.name,
        command.number,
        TrialState.FAILED,
        assignments,
        reason=reason,
        training_steps=progress.steps,
    )
    parent = read_trial(command.resume) if command.resume else None
    return replace(failed, parent=parent.number) if parent else failed


def _prepared(experiment: Experiment, command: TrialCommand) -> Path:
    """Return the dataset of the experiment, prepared by the first trial that comes."""
    from hpo_pipeline.data.prepare_once import prepared_once

    assert command.datasets is not None
    if command.storage is None:
        return prepared_once(experiment, command.datasets)
    return UriStorage(command.storage).dataset(experiment, command.datasets, prepared_once)


def _parent(command: TrialCommand) -> Path | None:
    if command.resume is not None and command.storage is not None:
        UriStorage(command.storage).fetch(command.resume)
    return command.resume


def _reporter(
    command: TrialCommand, experiment: Experiment, stop: StopRequest
) -> tuple[Reporter, Callable[[str], None]]:
    """Return what the trial reports to, and what takes the fingerprint of its data."""
    use_data: Callable[[str], None] = _use_any_data
    reporters: list[Reporter] = [MetricLines(sys.stdout)]
    if command.channel is not None:
        reporters.append(Channel(command.channel))
    if command.stopping is not None:
        # Imported here: trials of this machine need no gRPC.
        from hpo_pipeline.trial.reporting.grpc_reporting import DatabaseReporter, StoppingReporter

        address, token = command.stopping, os.environ.get(TOKEN_VARIABLE, "")
        if command.database is not None:
            database = DatabaseReporter(
                command.database, address, experiment.name, command.name, token=token
            )
            reporters.append(database)
        service = StoppingReporter(address, experiment, command.name, token=token)
        stop.also(service.is_over)
        reporters.append(service)
        use_data = service.begin
    return Several(tuple(reporters)), use_data


def _use_any_data(fingerprint: str) -> None:
    """Accept the data: nobody but the engine compares them with those of other trials."""


def _forget_checkpoints(storage: UriStorage, folder: Path) -> None:
    try:
        storage.remove(folder / RESUME_FOLDER)
    except DataError as error:
        logger.warning("the checkpoints of a finished trial stay: %s", error)


def _forget_model(folder: Path) -> None:
    for name in (MODEL_FOLDER, CHECKPOINT_FOLDER, TRAINER_FOLDER):
        shutil.rmtree(folder / name, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

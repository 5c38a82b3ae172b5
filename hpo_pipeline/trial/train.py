"""One trial from its data to its result: load, train, measure, save.

transformers.Trainer is used as it is: training/ trains, reports and remembers the best weights,
measuring/ measures.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.objective import with_score
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.files import MODEL_FOLDER, TRAINER_FOLDER
from hpo_pipeline.results.ranking import best_variant
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.trial.as_served import Clock, Trained, as_served
from hpo_pipeline.trial.environment import environment, measured_on
from hpo_pipeline.trial.measuring.fresh_processes import Spare
from hpo_pipeline.trial.measuring.purpose import Purpose
from hpo_pipeline.trial.measuring.quiet import QuietSlot
from hpo_pipeline.trial.measuring.timing import spare_for
from hpo_pipeline.trial.own.script import ScriptRun, folder_metrics, script_of
from hpo_pipeline.trial.own.trainer import one_gpu, own_measure, write_metrics
from hpo_pipeline.trial.reporting.reporter import Reporter
from hpo_pipeline.trial.reporting.stop_request import StopRequest
from hpo_pipeline.trial.resuming.training_state import restore_weights
from hpo_pipeline.trial.training.building import checked_metrics
from hpo_pipeline.trial.training.callback import Progress, TrialCallback
from hpo_pipeline.trial.training.precision import precision_of
from hpo_pipeline.trial.training.trainings import Done, Surroundings, TrialSpec, trained


def run_trial(
    experiment: Experiment,
    spec: TrialSpec,
    *,
    reporter: Reporter,
    stop: StopRequest,
    progress: Progress,
) -> Trial:
    """Train one configuration and return its result; the model is in the trial's folder.

    Raises:
        TrialError: the configuration gives no result; the message says why.
    """
    if getattr(experiment.task.settings, "script", None) is not None:
        return _run_script(experiment, spec, reporter=reporter, stop=stop, progress=progress)
    ways = experiment.serve.assigned(spec.assignments).variants
    # Before anything is computed, and before the slot has locks.
    with spare_for(Purpose(experiment.reads), ways) as spare:
        return _run_trainer(experiment, spec, reporter, stop, progress, spare)


def _run_trainer(
    experiment: Experiment,
    spec: TrialSpec,
    reporter: Reporter,
    stop: StopRequest,
    progress: Progress,
    spare: Spare | None,
) -> Trial:
    slot = QuietSlot(spec.quiet)
    slot.work()
    done = trained(experiment, spec, Surroundings(reporter, stop, progress, slot, spare))
    model = _saved(done, spec.folder)
    trial = _as_served(experiment, spec, done, model)
    return replace(
        trial,
        parent=done.parent,
        environment={**environment(done.saved), **trial.environment},
    )


def _saved(done: Done, folder: Path) -> Trained:
    """Save the model with its best weights."""
    best, built = done.best, done.built
    if done.callback.best_weights is not None:
        restore_weights(built.trainer.model, done.callback.best_weights)
    model = built.save(folder / MODEL_FOLDER)
    shutil.rmtree(folder / TRAINER_FOLDER, ignore_errors=True)
    done.clock.lap("save")
    return Trained(built, model, folder / MODEL_FOLDER, best.metrics)


def _as_served(experiment: Experiment, spec: TrialSpec, done: Done, trained: Trained) -> Trial:
    """Measure a model in each way in which it may be served, and return the result of the best."""
    built, slot = trained.built, trained.built.practical.slot
    variants = experiment.serve.assigned(spec.assignments).variants
    clock, share = done.clock, done.clock.seconds["train"] / len(variants)
    found = [as_served(experiment, trained, serve, clock, trained_s=share) for serve in variants]
    slot.end()
    best = best_variant(experiment, found)
    serve, chosen = variants[best], found[best]
    built.keep(serve, trained.folder)
    trial = _result(
        experiment,
        spec,
        done.callback,
        chosen.metrics,
        steps=done.steps,
        seconds=clock.seconds,
    )
    return replace(
        trial,
        served=serve.title,
        variants=tuple(found) if len(found) > 1 else (),
        environment={
            **measured_on(serve, chosen.interrupted, chosen.processes, was_quiet=slot.was_quiet),
            "precision": precision_of(built.trainer.args),
        },
        intervals=chosen.intervals,
    )


def _result(
    experiment: Experiment,
    spec: TrialSpec,
    followed: TrialCallback | ScriptRun,
    found: dict[str, float],
    *,
    steps: int,
    seconds: dict[str, float],
) -> Trial:
    """Return the result of a trial with these metrics; for a gate without rows, write them too."""
    metrics = with_score(found, experiment.objective)
    if TASKS[experiment.task.kind].is_own_code:
        write_metrics(spec.folder / MODEL_FOLDER, metrics)
    return Trial(
        name=spec.name,
        number=spec.number,
        state=TrialState.STOPPED if followed.is_stopped else TrialState.SUCCEEDED,
        assignments=spec.assignments,
        metrics=metrics,
        curve=tuple(followed.curve),
        best_step=None if followed.best is None else followed.best.step,
        training_steps=steps,
        seconds=seconds,
        environment=environment(),
    )


def _run_script(
    experiment: Experiment,
    spec: TrialSpec,
    *,
    reporter: Reporter,
    stop: StopRequest,
    progress: Progress,
) -> Trial:
    """Run the user's script as a trial."""
    clock = Clock()
    one_gpu()
    task = experiment.task.assigned(spec.assignments)
    folder = spec.folder / MODEL_FOLDER
    ran = ScriptRun(experiment.objective, reporter, stop, progress)
    ran.run(script_of(task), folder, spec.assignments, spec.seed)
    clock.lap("train")
    best = ran.best
    assert best is not None
    if not folder.is_dir() or not any(folder.iterdir()):
        raise TrialError("the script saved nothing into hpo_pipeline.trial_folder()")
    measured = folder_metrics(folder, clock.seconds["train"])
    if (own := own_measure(task)) is not None:
        measured |= checked_metrics(own(None, folder), "task.measure")
    clock.lap("measure")
    found = {**best.metrics, **measured}
    steps = ran.curve[-1].training_step
    return _result(experiment, spec, ran, found, steps=steps, seconds=clock.seconds)

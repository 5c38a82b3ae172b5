"""The local engine on real processes, with one warm server for all tests of this file."""

import contextlib
import os
import signal
import threading
import time

import pytest

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.engines import RunContext
from hpo_pipeline.engines.interruption import Interrupted, Interruption
from hpo_pipeline.engines.local.process_runner import ProcessRunner
from hpo_pipeline.engines.local.server_client import ServerDied
from hpo_pipeline.engines.loop.search_loop import SearchLoop
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import TrialState
from tests.engines.contract import EngineContract
from tests.nursery import start_server

LONG = "{num_train_epochs: 100000, per_device_train_batch_size: 8}"


class Lines:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.most = 0
        self.on_update = lambda trials: None

    def started(self, total, parallel):
        self.parallel = parallel

    def update(self, trials, *, seconds):
        running = [t for t in trials if t.state == TrialState.RUNNING]
        self.most = max(self.most, len(running))
        self.on_update(running)

    def say(self, line):
        self.lines.append(line)

    def close(self):
        pass


@pytest.fixture
def make_engine(server, tmp_path):
    """Return a function that makes an engine for an experiment file, in its run folder."""

    def make(file, progress=None, server=server):
        experiment, folder = load(file), RunFolder(tmp_path / "runs" / file.stem)
        folder.trials.mkdir(parents=True, exist_ok=True)
        folder.adopt(experiment)
        dataset = prepare(experiment, tmp_path)
        context = RunContext(experiment, folder, progress or Lines())
        return lambda interruption: search(context, server, dataset, interruption)

    return make


def search(context, server, dataset, interruption):
    """Search in a process that has a server already."""
    runner = ProcessRunner(context, server, interruption, dataset=dataset)
    try:
        return SearchLoop(context, runner).run(interruption)
    finally:
        runner.close()


def run(engine):
    with Interruption().installed() as interruption:
        return engine(interruption)


class TestContract(EngineContract):
    @pytest.fixture
    def run_engine(self, make_engine):
        return lambda file: run(make_engine(file))


def models(tmp_path):
    return sorted(p.parent.name for p in tmp_path.glob("runs/*/trials/*/model"))


def test_only_the_best_models_stay(make_engine, write_experiment, tmp_path):
    file = write_experiment(budget="{trials: 5, parallel: 2, keep: 2}")
    trials, _ = run(make_engine(file))
    best = sorted(trials, key=lambda t: (-t.metrics["accuracy"], t.number))[:2]
    assert models(tmp_path) == sorted(t.name for t in best)


def test_as_many_trials_run_as_may(make_engine, write_experiment):
    progress = Lines()
    run(make_engine(write_experiment(budget="{trials: 6, parallel: 3}"), progress))
    assert progress.most == 3


def test_a_run_goes_on_with_more_trials(make_engine, write_experiment):
    first, _ = run(make_engine(write_experiment(budget="{trials: 2}")))
    progress = Lines()
    both, _ = run(make_engine(write_experiment(budget="{trials: 4}"), progress))
    assert both[:2] == first
    assert len(both) == 4
    assert progress.lines[0] == "resumed: 2 trials finished earlier"


def test_a_trial_killed_from_outside_runs_again(make_engine, write_experiment, server):
    progress, killed = Lines(), []

    def kill_first(running):
        if running and not killed and running[0].name in server.pids:
            os.kill(server.pids[running[0].name], signal.SIGKILL)
            killed.append(running[0].name)

    progress.on_update = kill_first
    trials, _ = run(make_engine(write_experiment(), progress))
    assert f"{killed[0]} was killed and is rerun" in progress.lines
    assert [t.state for t in trials] == [TrialState.SUCCEEDED] * 3


def test_a_killed_trial_resumes_and_its_curve_is_judged_whole(
    make_engine, write_experiment, server, tmp_path
):
    """The stopping rule counts evaluations, so it must know those of before the kill."""
    training = "{num_train_epochs: 12, per_device_train_batch_size: 2}"
    parts = {"training": training, "budget": "{trials: 1}"}
    (whole,), _ = run(make_engine(write_experiment("whole", **parts)))
    progress, seen = Lines(), []

    def kill_once(running):
        if running and len(running[0].curve) >= 4 and not seen:
            os.kill(server.pids[running[0].name], signal.SIGKILL)
            seen.append(len(running[0].curve))

    progress.on_update = kill_once
    file = write_experiment("broken", extra="checkpoint: {every: 50 steps}", **parts)
    (trial,), _ = run(make_engine(file, progress))
    assert seen
    assert [p.metrics["loss"] for p in trial.curve] == [p.metrics["loss"] for p in whole.curve]
    events = (tmp_path / "runs/broken/timeline.jsonl").read_text("utf-8")
    assert events.count('"resumed"') == 1
    assert not list(tmp_path.glob("runs/broken/trials/*/resume"))


def test_a_trial_killed_again_and_again_fails_with_a_reason(make_engine, write_experiment, server):
    def kill_all(running):
        for trial in running:
            with contextlib.suppress(KeyError, ProcessLookupError):  # it has just ended
                os.kill(server.pids[trial.name], signal.SIGKILL)

    progress = Lines()
    progress.on_update = kill_all
    file = write_experiment(training=LONG, budget="{trials: 1, max_failed: 3}")
    (trial,), _ = run(make_engine(file, progress))
    assert trial.state == TrialState.FAILED
    assert "killed 3 times, probably for lack of memory" in trial.reason


def test_the_death_of_the_server_is_an_error_after_which_a_new_one_goes_on(
    make_engine, write_experiment, tmp_path
):
    mortal = start_server(tmp_path)
    file = write_experiment(budget="{trials: 3, parallel: 1}")
    engine = make_engine(file, server=mortal)
    threading.Timer(1.0, mortal._process.kill).start()

    def run_on():
        for number in range(100):
            run(engine if number == 0 else make_engine(write_experiment("next"), server=mortal))

    with pytest.raises(ServerDied, match="ended unexpectedly"):
        run_on()
    mortal.close()
    trials, _ = run(make_engine(file))
    assert [t.state for t in trials] == [TrialState.SUCCEEDED] * 3


def test_an_interruption_ends_the_run_and_leaves_its_trials_to_the_next(
    make_engine, write_experiment, tmp_path
):
    own = start_server(tmp_path)
    file = write_experiment(training=LONG, budget="{trials: 2, parallel: 2}")
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(Interrupted, match="SIGINT") as caught:
        run(make_engine(file, server=own))
    pids = list(own.pids.values())
    own.close()
    assert caught.value.exit_code == 130
    assert time.monotonic() - start < 10
    for pid in pids:
        wait_for_end(pid)


def wait_for_end(pid):
    """Fail if a process has not ended within a few seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} still runs")


def test_an_equal_proposal_takes_over_the_result_of_the_first(make_engine, write_experiment):
    file = write_experiment(
        space="{model.num_hidden_layers: {type: int, low: 1, high: 2}}",
        budget="{trials: 6, parallel: 2}",
    )
    trials, _ = run(make_engine(file))
    first = {t.assignments["model.num_hidden_layers"]: t for t in reversed(trials)}
    ran = [t for t in trials if t.reused_from is None]
    assert len(trials) == 6
    assert len(ran) == len(first)
    for trial in trials:
        original = first[trial.assignments["model.num_hidden_layers"]]
        assert trial.metrics == original.metrics
        if trial is not original:
            assert trial.reused_from == original.name
            assert trial.training_steps == 0

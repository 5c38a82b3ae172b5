"""Where everything in the folder of a run is, on this machine or as a pod sees it.

experiment.json   the experiment, with absolute paths    journal.log   Optuna's study
run.json          state, seconds, winner                 server.log    the process server
trials/NAME/      result.json, log.txt, model/           model/        the winner, to load
confirm/          the same, of runs with other seeds     jobs/NAME/    answers and logs of jobs
leaderboard.csv   every trial with all its metrics       report.html
quiet/            locks: one trial is timed at a time         tracking/     what trackers are sent
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hpo_pipeline.results.files import MODEL_FOLDER

EXPERIMENT_FILE = "experiment.json"
RUN_FILE = "run.json"


@dataclass(frozen=True)
class RunPaths:
    """The paths of one run."""

    path: Path

    @property
    def experiment_file(self) -> Path:
        """The experiment as it was when the run started."""
        return self.path / EXPERIMENT_FILE

    @property
    def run_file(self) -> Path:
        """The `RunState`."""
        return self.path / RUN_FILE

    @property
    def conclusion(self) -> Path:
        """What was measured on the test rows, by the name of the model."""
        return self.path / "conclusion.json"

    def test_rows(self, model: str) -> Path:
        """What each test row adds to the metrics of a model that was measured on them."""
        digest = hashlib.sha256(model.encode()).hexdigest()[:16]
        return self.path / "test_rows" / f"{digest}.npz"

    @property
    def journal(self) -> Path:
        """Optuna's study."""
        return self.path / "journal.log"

    @property
    def quiet(self) -> Path:
        """Locks by which trials let each other be timed alone."""
        return self.path / "quiet"

    @property
    def timeline(self) -> Path:
        """What happened to which trial when, a JSON line each."""
        return self.path / "timeline.jsonl"

    @property
    def tracking(self) -> Path:
        """What trackers are sent, and what they were sent already."""
        return self.path / "tracking"

    @property
    def requests(self) -> Path:
        """What people ask of the run while it goes on."""
        return self.path / "requests"

    @property
    def server_log(self) -> Path:
        """What the process server wrote."""
        return self.path / "server.log"

    @property
    def leaderboard(self) -> Path:
        """All trials with their metrics, best first, CSV."""
        return self.path / "leaderboard.csv"

    @property
    def report(self) -> Path:
        """The report, HTML."""
        return self.path / "report.html"

    @property
    def trials(self) -> Path:
        """The folders of the trials, by name."""
        return self.path / "trials"

    @property
    def model(self) -> Path:
        """The winner's model."""
        return self.path / MODEL_FOLDER

    @property
    def confirmation(self) -> RunPaths:
        """The runs of the best configurations with other seeds: a run folder of its own."""
        return RunPaths(self.path / "confirm")

    def trial(self, name: str) -> Path:
        """The folder of a trial of the search."""
        return self.trials / name

    def job(self, name: str) -> Path:
        """The folder of a job beside the search: its answer and its log."""
        return self.path / "jobs" / name

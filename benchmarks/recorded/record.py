"""Record the learning curves and practical metrics of a whole grid of real trials.

Runs `digits.yaml` beside this file (312 trials of a small vision transformer on scikit-learn's
digits, about a quarter of an hour on two cores) and writes `digits.csv.gz`, a row an evaluation.
A run that was cut off goes on; a run that is over is only written again.

    python benchmarks/recorded/record.py [--run FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import os
import subprocess
import sys
from pathlib import Path

from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Trial, TrialState

HERE = Path(__file__).parent
EXPERIMENT, TABLE = HERE / "digits.yaml", HERE / "digits.csv.gz"
PARAMETERS = (
    "learning_rate",
    "per_device_train_batch_size",
    "model.num_hidden_layers",
    "model.hidden_size",
)
CURVE = ("accuracy", "f1", "loss")
PRACTICAL = ("latency_p50_ms", "latency_p95_ms", "model_size_mb", "parameters_m", "train_seconds")
HEADER = (*PARAMETERS, "evaluation", "training_step", "epoch", *CURVE, *PRACTICAL)


def rows(trial: Trial) -> list[list[object]]:
    """Return a row an evaluation; the practical metrics, of the finished model, are in each."""
    given = [trial.assignments[name] for name in PARAMETERS]
    practical = [f"{trial.metrics[name]:.6g}" for name in PRACTICAL]
    return [
        [
            *given,
            point.step,
            point.training_step,
            f"{point.epoch:.6g}",
            *(f"{point.metrics[name]:.6g}" for name in CURVE),
            *practical,
        ]
        for point in trial.curve
    ]


def main() -> int:
    """Run what is not yet run, then write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, default=Path("runs") / "recorded-digits")
    folder = parser.parse_args().run
    argv = [sys.executable, "-m", "hpo_pipeline", "run", os.fspath(EXPERIMENT), "--run", folder]
    code = subprocess.run(argv, check=False).returncode
    if code:
        return code
    trials = RunFolder(folder).finished_trials()
    lost = [trial.name for trial in trials if trial.state is not TrialState.SUCCEEDED]
    if lost:
        print(f"not in the table, for they did not succeed: {', '.join(lost)}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for trial in trials:
        if trial.state is TrialState.SUCCEEDED:
            writer.writerows(rows(trial))
    TABLE.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    print(f"{TABLE}: {len(trials) - len(lost)} trials, {TABLE.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What exporting and measuring add to the wall time of a run, from its own records.

    python -m benchmarks.served_share RUN

While a trial of a run is timed, the others stand still, so what it takes to measure counts in full;
exports run beside other trials and count by their share of those that run in parallel. The winner
and the baseline are measured on the test rows after the search, one after the other.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main() -> int:
    """Print the share as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="run folder of a finished run")
    run = parser.parse_args().run
    wall = json.loads((run / "run.json").read_text())["seconds"]
    parallel = json.loads((run / "experiment.json").read_text())["budget"]["parallel"]
    trials = [json.loads(file.read_text()) for file in run.glob("trials/*/result.json")]
    sums = {
        phase: sum(trial["seconds"].get(phase, 0.0) for trial in trials)
        for phase in ("load", "train", "evaluate", "save", "export", "measure", "wait")
    }
    file = run / "conclusion.json"
    evaluations = json.loads(file.read_text())["evaluations"] if file.exists() else {}
    final = sum(
        float(each["environment"].get("measured for", "0 s").removesuffix(" s"))
        for each in evaluations.values()
    )
    added = sums["measure"] + sums["export"] / parallel + final
    print(
        json.dumps(
            {
                "trials": len(trials),
                "wall, s": round(wall, 1),
                "of the trials, s": {name: round(each, 1) for name, each in sums.items()},
                "on the test rows, s": round(final, 1),
                "added, s": round(added, 1),
                "added to a run without, %": round(100 * added / (wall - added), 1),
            },
            indent=2,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

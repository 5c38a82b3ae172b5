"""The log of a process of a run: lines for people, or JSON with the id of the run."""

import json
import subprocess
import sys

CODE = """
import logging
from hpo_pipeline.trial.reporting.process_log import configure
configure("%(levelname)s %(message)s", trial="toy-0001")
logging.getLogger("somewhere").warning("it is %d degrees", 40)
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("somewhere").exception("no")
"""


def lines(**environment):
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()


def test_lines_for_people():
    assert lines()[0] == "WARNING it is 40 degrees"


def test_objects_with_the_id_of_the_run():
    first, second = map(json.loads, lines(HPO_LOG_FORMAT="json", HPO_RUN_ID="0f9c"))
    assert (first["run"], first["trial"], first["level"]) == ("0f9c", "toy-0001", "warning")
    assert first["message"] == "it is 40 degrees"
    assert "ZeroDivisionError" in second["traceback"]

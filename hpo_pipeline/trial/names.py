"""Names that trials share with Katib and our services: parameters, metrics, tokens, numbers."""

from __future__ import annotations

import re

PARENT = "parent"
"""The parameter with the name of the trial from whose checkpoint a trial resumes, or `none`."""


NO_PARENT = "none"


EPOCH = "epoch"


TRAINING_STEP = "training_step"
"""Reported beside the metrics of an evaluation, but not with those of the result."""


TOKEN_KEY = "hpo-token"
"""The metadata of a call to the stopping service that has the token of the experiment."""


EXPERIMENT_KEY = "hpo-experiment"
"""The metadata of values for Katib's database that has the name of the experiment."""


TOKEN_VARIABLE = "HPO_TOKEN"
"""The environment variable from which a trial takes it."""


QUIET_VARIABLE = "HPO_QUIET"
"""The environment variable with the folder in which trials of one machine agree on their turns."""


RUN_ID_VARIABLE = "HPO_RUN_ID"
"""The environment variable with the id of the run, for its trials and jobs."""


RUN_KEY = "hpo-run"
"""The metadata with the id of the run, by which one service tells it to the other."""


LOG_FORMAT_KEY = "hpo-log-format"
"""The metadata with the form of the log, told in the same way."""


LOG_FORMAT_VARIABLE = "HPO_LOG_FORMAT"
"""The environment variable by which trials and jobs write their log as JSON (`json`)."""


_NUMBER = re.compile(r"-(\d{4,})")


def trial_number(name: str) -> int | None:
    """Return the number at the end of the name of a trial, which stock algorithms do not give."""
    found = re.search(_NUMBER.pattern + "$", name)
    return int(found[1]) if found else None

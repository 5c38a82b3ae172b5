"""The log of a process that works for a run: lines for people, or JSON for log collectors.

`HPO_LOG_FORMAT=json` chooses JSON. Each line then has the id of the run, which a process learns
from `HPO_RUN_ID`. The services on a cluster learn both later.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from hpo_pipeline.trial.names import LOG_FORMAT_VARIABLE, RUN_ID_VARIABLE

JSON = "json"


class JsonFormatter(logging.Formatter):
    """Writes a record as an object, in the form of `hpo run --log-format json`."""

    def __init__(self, **content: str) -> None:
        super().__init__()
        self.content = content

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line."""
        found = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **{name: text for name, text in self.content.items() if text},
            "event": "log",
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found, ensure_ascii=False)


def configure(
    text_format: str, environ: Mapping[str, str] = os.environ, **content: str
) -> logging.Formatter:
    """Have the log of this process written to stderr, and return how.

    Args:
        text_format: of lines for people.
        content: what each object has, such as the name of the trial.
    """
    is_json = environ.get(LOG_FORMAT_VARIABLE) == JSON
    formatter = (
        JsonFormatter(run=environ.get(RUN_ID_VARIABLE, ""), **content)
        if is_json
        else logging.Formatter(text_format)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler])
    return formatter

"""What is written into an MLflow server, and what its client says when something went wrong.

Pure, and without the client, which only mlflow.py knows.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping

from hpo_pipeline.registry.record import Candidate

RECORD_TAG = "hpo-pipeline.record"
# MLflow's databases take 6000 characters of a parameter and, the older ones, 5000 of a tag.
PIECE = 4900
TAGS = (
    *("experiment", "trial", "objective", "reason", "data_hash", "space_hash", "model_sha256"),
    *("image_digest", "source_revision", "run"),
)


def split(entry: str) -> tuple[str, dict[str, str]]:
    """Return what stands in the parameter of an entry, and the parameters that it refers to."""
    if len(entry) <= PIECE:
        return entry, {}
    own = uuid.uuid4().hex
    parts = [entry[i : i + PIECE] for i in range(0, len(entry), PIECE)]
    return f"{own} {len(parts)}", {f"{own}.{i}": part for i, part in enumerate(parts)}


def join(head: str, params: Mapping[str, str]) -> str:
    """Return the entry that `split` took apart."""
    if head.startswith("{"):
        return head
    own, count = head.split()
    return "".join(params[f"{own}.{i}"] for i in range(int(count)))


def tags(candidate: Candidate) -> dict[str, str]:
    """Return what people look for in a list of runs or versions."""
    values = {name: getattr(candidate, name) for name in TAGS}
    seeds = " ".join(f"{name}={seed}" for name, seed in candidate.seeds.items())
    return {name: str(value)[:PIECE] for name, value in {**values, "seeds": seeds}.items() if value}


def record(candidate: Candidate) -> dict[str, str]:
    """Return the whole record as JSON, in as many tags as it takes."""
    text = json.dumps(candidate.to_json(), ensure_ascii=False)
    pieces = [text[i : i + PIECE] for i in range(0, len(text), PIECE)]
    return {RECORD_TAG + (f".{i}" if i else ""): piece for i, piece in enumerate(pieces)}


def message(name: str, error: Exception) -> str:
    """Return what went wrong at a server, and what to do."""
    code = getattr(error, "error_code", "")
    reason = str(error).strip().split("\n")[0]
    if "Caused by" in reason:  # of a connection: the rest are the address and its query again
        reason = reason.split("Caused by")[1].strip(" ()")
    reason = reason[:300]
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED") or re.search("error code 40[13]", reason):
        hint = "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return f"{name}: the server must accept the credentials, got: {reason}; {hint}"
    return (
        f"{name}: MLflow must answer, got: {reason}; see that the server runs and can be reached "
        f"from here, then try again: what is done already is kept"
    )

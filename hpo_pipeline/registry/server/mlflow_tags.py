"""The tags and parameters that are written to an MLflow server, and the errors of its client.

Pure, and without the client, which only mlflow.py imports.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.record import Candidate

RECORD_TAG = "hpo-pipeline.record"
# MLflow's databases take 6000 characters of a parameter and, the older ones, 5000 of a tag.
PIECE = 4900
TAGS = (
    *("experiment", "trial", "objective", "reason", "data_hash", "space_hash", "model_sha256"),
    *("image_digest", "source_revision", "run"),
)


def split(entry: str) -> tuple[str, dict[str, str]]:
    """Return the value of an entry's parameter, and the parameters that it refers to."""
    if len(entry) <= PIECE:
        return entry, {}
    own = uuid.uuid4().hex
    parts = [entry[i : i + PIECE] for i in range(0, len(entry), PIECE)]
    return f"{own} {len(parts)}", {f"{own}.{i}": part for i, part in enumerate(parts)}


def join(head: str, params: Mapping[str, str]) -> str:
    """Return the entry that `split` took apart.

    Raises:
        RegistryError: a piece is missing, or `split` did not write the head.
    """
    if head.startswith("{"):
        return head
    own, _, count = head.partition(" ")
    number = int(count) if count.isdecimal() and len(count) < 5 else 0
    pieces = [params.get(f"{own}.{i}") for i in range(number)]
    found = "".join(piece for piece in pieces if piece is not None)
    if not found or None in pieces:
        raise RegistryError(f"an entry of the history is damaged: {head!r:.80}")
    return found


def tags(candidate: Candidate) -> dict[str, str]:
    """Return the tags that people search for in a list of runs or versions."""
    values = {name: getattr(candidate, name) for name in TAGS}
    seeds = " ".join(f"{name}={seed}" for name, seed in candidate.seeds.items())
    return {name: str(value)[:PIECE] for name, value in {**values, "seeds": seeds}.items() if value}


def record(candidate: Candidate) -> dict[str, str]:
    """Return the whole record as JSON, in as many tags as it needs."""
    text = json.dumps(candidate.to_json(), ensure_ascii=False)
    pieces = [text[i : i + PIECE] for i in range(0, len(text), PIECE)]
    return {RECORD_TAG + (f".{i}" if i else ""): piece for i, piece in enumerate(pieces)}


def message(name: str, error: Exception) -> str:
    """Return what went wrong at a server, and what to do about it."""
    code = getattr(error, "error_code", "")
    reason = str(error).strip().split("\n")[0]
    if "Caused by" in reason:  # of a connection: the rest are the address and its query again
        reason = reason.split("Caused by")[1].strip(" ()")
    reason = reason[:300]
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED") or re.search("error code 40[13]", reason):
        hint = "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return f"{name}: the server must accept the credentials, got: {reason}; {hint}"
    return (
        f"{name}: MLflow must answer, got: {reason}; check that the server runs and can be reached "
        f"from here, then try again: finished work is kept"
    )

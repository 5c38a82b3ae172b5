"""The tracker of Weights & Biases, offline: what its client wrote to its own files."""

from __future__ import annotations

import json
import struct
import time

import pytest

from hpo_pipeline.trackers import to_wandb
from tests.trackers.contract import Shown, TrackerContract

BLOCK, FULL, LAST = 32768, 1, 4


@pytest.mark.slow
class TestWandb(TrackerContract):
    live = False

    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch, tmp_path):
        pytest.importorskip("wandb")
        for name, value in (("MODE", "offline"), ("ERROR_REPORTING", "false"), ("SILENT", "true")):
            monkeypatch.setenv(f"WANDB_{name}", value)
        monkeypatch.setenv("HOME", str(tmp_path))

    def environ(self):
        return {"WANDB_MODE": "offline"}

    def open_tracker(self, run, ledger):
        return to_wandb.open_tracker(run, ledger)

    def shown(self, run):
        """Put together the files of each run, as its server does by the run's id."""
        found = {}
        for file in sorted((run.folder / "tracking" / "wandb").glob("offline-run-*/*.wandb")):
            run_id = file.stem.removeprefix("run-")
            shown, history = found.setdefault(run_id, (Shown({}, [], {}), {}))
            for record in complete(file):
                read(record, shown, history)
        names = [run_id.partition("-")[2].removesuffix("-1-1") for run_id in found]
        assert len(set(names)) == len(names)
        for shown, history in found.values():
            shown.curve = sorted(history.items())
        return dict(zip(names, (shown for shown, _ in found.values()), strict=True))


def complete(file):
    """Return the records of a file, which the client's service may still be writing."""
    for _ in range(100):
        found = list(records(file))
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        time.sleep(0.1)
    raise AssertionError(f"{file} was not written to its end")


def records(file):
    """Yield the records of a client's file, a log in the format of LevelDB after seven bytes."""
    from wandb.proto import wandb_internal_pb2 as pb

    data, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:  # too short for the head of a part
            place += BLOCK - place % BLOCK
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (FULL, LAST):
            record = pb.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def read(record, shown, history):
    kind = record.WhichOneof("record_type")
    if kind == "run":
        for item in record.run.config.update:
            if item.key == "learning_rate":
                shown.params["learning_rate"] = item.value_json
        tags = set(record.run.tags)
        shown.state = next(iter(tags & {"succeeded", "stopped", "failed"}), shown.state)
    elif kind == "history":
        values = {"/".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
        if "curve/accuracy" in values:
            step = int(values.get("_step", record.history.step.num))
            history.setdefault(step, float(values["curve/accuracy"]))
    elif kind == "summary":
        for item in record.summary.update:
            name, value = "/".join(item.nested_key) or item.key, json.loads(item.value_json)
            if name == "winner":
                shown.is_winner = value
            elif name in ("accuracy", "test_accuracy"):
                shown.metrics[name] = value
            elif name == "reason":
                shown.reason = value or None
    elif kind == "artifact" and record.artifact.type == "model":
        shown.files |= {f"model/{entry.path}" for entry in record.artifact.manifest.contents}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "set WANDB_API_KEY"),
        ({"WANDB_MODE": "offline"}, None),
        ({"WANDB_API_KEY": "k" * 40}, None),
        ({"WANDB_API_KEY": "k" * 40, "WANDB_BASE_URL": "http://wandb.example"}, "plain http"),
        ({"WANDB_API_KEY": "k" * 40, "WANDB_BASE_URL": "http://127.0.0.1:8080"}, None),
    ],
)
def test_the_environment_has_the_key(environ, said, tmp_path, monkeypatch):
    monkeypatch.setattr(to_wandb.importlib.util, "find_spec", lambda name: name)
    found = to_wandb.faults({"HOME": str(tmp_path), **environ})
    assert "kkk" not in str(found)
    assert found == [] if said is None else said in found[0]


def test_a_package_that_is_missing(monkeypatch):
    monkeypatch.setattr(to_wandb.importlib.util, "find_spec", lambda name: None)
    assert to_wandb.faults({}) == ["needs the package wandb: pip install 'hpo-pipeline[wandb]'"]

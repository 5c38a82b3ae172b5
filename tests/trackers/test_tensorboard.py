"""The tracker of TensorBoard: real event files, read by TensorBoard itself."""

from __future__ import annotations

import json
import warnings
from contextlib import closing

import pytest

pytest.importorskip("tensorboard")

from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.trackers import to_tensorboard
from hpo_pipeline.trackers.interface import RunEntry
from hpo_pipeline.trackers.ledger import JsonLedger
from tests.trackers.contract import Shown, TrackerContract, done, entry


class TestTensorboard(TrackerContract):
    keeps_files = False  # it says where the model is

    def open_tracker(self, run, ledger):
        return to_tensorboard.open_tracker(run, ledger)

    def read(self, folder):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

            accumulator = EventAccumulator(str(folder))
            accumulator.Reload()
        return accumulator

    def text(self, accumulator, tag):
        if f"{tag}/text_summary" not in accumulator.Tags()["tensors"]:
            return ""
        return accumulator.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode()

    def shown(self, run):
        from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

        found, folder = {}, run.folder / "tensorboard"
        winner = self.text(self.read(folder), "winner").partition(";")[0]
        for place in (path for path in folder.iterdir() if path.is_dir()):
            assert len(list(place.iterdir())) == 1
            read = self.read(place)
            scalars = {tag: read.Scalars(tag) for tag in read.Tags()["scalars"]}
            curve = [(s.step, round(s.value, 6)) for s in scalars.pop("curve/accuracy", ())]
            data = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
            start = parse_session_start_info_plugin_data(data)
            params = {name: f"{cell.number_value:g}" for name, cell in start.hparams.items()}
            metrics = {tag: values[-1].value for tag, values in scalars.items()}
            if place.name == winner:
                tested = self.read(folder).Scalars("test_accuracy")[-1].value
                metrics["test_accuracy"] = tested
            state, _, reason = self.text(read, "state").partition(": ")
            is_winner = place.name == winner
            found[place.name] = Shown(
                params, curve, metrics, state or None, reason or None, is_winner
            )
        return found

    def test_the_columns_of_the_page_hparams(self, run, send):
        from tensorboard.plugins.hparams.metadata import parse_experiment_plugin_data

        send(RunEntry(1.0, RunState(run.run_id, "running")))
        read = self.read(run.folder / "tensorboard")
        data = read.SummaryMetadata("_hparams_/experiment").plugin_data.content
        found = parse_experiment_plugin_data(data)
        assert [info.name for info in found.hparam_infos] == ["learning_rate"]
        assert found.metric_infos[0].name.tag == "accuracy"

    def test_what_a_crash_left_half_written_is_cut_off(self, run, send):
        trial = done(1, 0.5, 0.9)
        send(entry(trial, points=trial.curve[:1]))
        ledger = RunFolder(run.folder).tracking / "test.jsonl"
        (file,) = (run.folder / "tensorboard" / "toy-1").iterdir()
        with closing(JsonLedger(ledger)) as known:
            size = json.loads(known.get("written toy-1"))["size"]
        assert file.stat().st_size == size
        with file.open("ab") as stream:
            stream.write(b"half a record")
        send(entry(trial, points=trial.curve[1:]))
        assert [value for _, value in self.shown(run)["toy-1"].curve] == [0.5, 0.9]

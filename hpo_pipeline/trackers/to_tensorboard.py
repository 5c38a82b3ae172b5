"""TensorBoard: a folder of event files in the run folder, a run in it for each trial.

    tensorboard --logdir runs/NAME/tensorboard

Files are written record by record. The ledger knows their length after each entry: what a crash
left beyond that is cut off, so that an entry that comes twice is there once. Only functions import
the package.
"""

from __future__ import annotations

import importlib.util
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hpo_pipeline.errors import TrackingError
from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS
from hpo_pipeline.results.files import validated_or_none
from hpo_pipeline.results.run_paths import RunPaths
from hpo_pipeline.results.trial import TrialState
from hpo_pipeline.trackers.interface import CURVE, Ledger, RunEntry, TrackedRun, TrialEntry

FOLDER = "tensorboard"
RUN = "."
"""The run of the search itself, whose files are beside the folders of the trials."""


def faults(environ: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the package."""
    if importlib.util.find_spec("tensorboard") is None:
        return ["needs the package tensorboard: pip install 'hpo-pipeline[tensorboard]'"]
    return []


def open_tracker(run: TrackedRun, ledger: Ledger) -> TensorboardTracker:
    """Open the folder."""
    return TensorboardTracker(run, ledger)


@dataclass(frozen=True)
class _Written:
    """What was written of a trial: file, length in bytes, last training step; whether it ended."""

    file: str
    count: int = 1
    size: int = 0
    step: int = -1
    is_over: bool = False


class TensorboardTracker:
    """The `Tracker` of event files."""

    def __init__(self, run: TrackedRun, ledger: Ledger) -> None:
        self._run, self._ledger = run, ledger
        self._folder = run.folder / FOLDER

    def trial(self, entry: TrialEntry) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        events = []
        known = self._known(entry.name)
        if known is None or entry.begins_anew:
            known = self._begun(entry.name, entry.time, known)
            events.append((entry.time, 0, _session_start(entry)))
        for timed in entry.points:
            if (step := timed.point.training_step) > known.step:
                values = _scalars(timed.point.metrics, prefix=CURVE)
                events.append((timed.time, step, Summary(value=values)))
                known = replace(known, step=step)
        if entry.ended is not None and not known.is_over:
            ended = entry.ended
            words = ended.state.value + (f": {ended.reason}" if ended.reason else "")
            values = [*_scalars(ended.metrics), _text("state", words)]
            events.append((entry.time, ended.training_steps, Summary(value=values)))
            is_good = ended.state is not TrialState.FAILED
            events.append((entry.time, 0, _session_end(entry.time, is_good=is_good)))
            known = replace(known, is_over=True)
        self._write(entry.name, known, events)

    def run(self, entry: RunEntry) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        events = []
        known = self._known(RUN)
        if known is None:
            known = self._begun(RUN, entry.time, None)
            events.append((entry.time, 0, _experiment(self._run)))
        state, won = entry.state, entry.state.winner
        words = (state.state or "running") + (f": {state.reason}" if state.reason else "")
        values = [_text("state", words)]
        if won is not None:
            tested = {f"test_{name}": value for name, value in won.test.items()}
            values += _scalars({**won.metrics, **tested})
            model = RunPaths(self._run.folder).model
            where = str(model) if model.is_dir() else won.model or "not kept"
            values.append(_text("winner", f"{won.name}; its model: {where}"))
        self._write(RUN, known, [*events, (entry.time, 0, Summary(value=values))])

    def close(self) -> None:
        """Nothing is held back."""

    def _known(self, name: str) -> _Written | None:
        text = self._ledger.get(f"written {name}")
        return None if text is None else validated_or_none(_Written, json.loads(text))

    def _begun(self, name: str, time: float, before: _Written | None) -> _Written:
        """Start a file; that of an earlier training of the trial goes."""
        count = before.count + 1 if before else 1
        if before:
            (self._folder / before.file).unlink(missing_ok=True)
        return _Written(f"{name}/events.out.tfevents.{int(time):010d}.{count}", count)

    def _write(self, name: str, known: _Written, events: Sequence[tuple[float, int, Any]]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        if not events:
            return
        content = io.BytesIO()
        writer = RecordWriter(content)
        if not known.size:
            head = Event(wall_time=events[0][0], file_version="brain.Event:2")
            writer.write(head.SerializeToString())
        for time, step, summary in events:
            event = Event(wall_time=time, step=step, summary=summary)
            writer.write(event.SerializeToString())
        file = self._folder / known.file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("r+b" if file.exists() else "wb") as stream:
                stream.truncate(known.size)
                stream.seek(known.size)
                stream.write(content.getvalue())
        except OSError as error:
            raise TrackingError(f"{file}: cannot be written ({error.strerror})") from error
        known = replace(known, size=known.size + len(content.getvalue()))
        self._ledger.set(f"written {name}", json.dumps(asdict(known)))


def _scalars(metrics: Mapping[str, float], *, prefix: str = "") -> list[Any]:
    from tensorboard.compat.proto.summary_pb2 import Summary

    found = ((name, value) for name, value in metrics.items() if math.isfinite(value))
    return [Summary.Value(tag=prefix + name, simple_value=value) for name, value in found]


def _text(name: str, words: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.plugins.text.metadata import create_summary_metadata

    tensor = TensorProto(dtype="DT_STRING", string_val=[words.encode()])
    metadata = create_summary_metadata(display_name=name, description="")
    return Summary.Value(tag=f"{name}/text_summary", metadata=metadata, tensor=tensor)


def _experiment(run: TrackedRun) -> Any:
    """Return the columns of the page HParams: parameters, objectives, practical metrics."""
    from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName

    names = dict.fromkeys((*sorted(run.experiment.reads), *PRACTICAL_METRICS))
    content = Experiment(
        name=run.experiment.name,
        hparam_infos=[HParamInfo(name=name) for name in run.experiment.space],
        metric_infos=[MetricInfo(name=MetricName(tag=name)) for name in names],
    )
    return _hparams("_hparams_/experiment", experiment=content)


def _session_start(entry: TrialEntry) -> Any:
    from tensorboard.plugins.hparams.plugin_data_pb2 import SessionStartInfo

    content = SessionStartInfo(start_time_secs=entry.time)
    for name, value in entry.assignments.items():
        cell = content.hparams[name]
        if isinstance(value, bool):
            cell.bool_value = value
        elif isinstance(value, int | float):
            cell.number_value = value
        else:
            cell.string_value = value
    return _hparams("_hparams_/session_start_info", session_start_info=content)


def _session_end(time: float, *, is_good: bool) -> Any:
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import SessionEndInfo

    status = Status.Value("STATUS_SUCCESS" if is_good else "STATUS_FAILURE")
    content = SessionEndInfo(end_time_secs=time, status=status)
    return _hparams("_hparams_/session_end_info", session_end_info=content)


def _hparams(tag: str, **content: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    data = HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))
    value.tensor.CopyFrom(metadata.NULL_TENSOR)
    return Summary(value=[value])

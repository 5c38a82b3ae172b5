"""What a run puts into the queue of its trackers, and that each is sent once, whatever happens."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing

import pytest

from hpo_pipeline.errors import MonitoringError, Refused, TrackingError
from hpo_pipeline.reports.terminal.silence import Silence
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.results.trial import TrialState
from hpo_pipeline.trackers.interface import RunEntry, TrackedRun, TrialEntry
from hpo_pipeline.trackers.ledger import JsonLedger
from hpo_pipeline.trackers.queue import Queue, merged
from hpo_pipeline.trackers.sender import Sender, left, sending
from hpo_pipeline.trackers.tracked_progress import TrackedProgress
from tests.engines.test_local import Lines
from tests.toys import toy_curve, toy_experiment, toy_trial


class ToyTracker:
    """Keeps what it is sent; `fails` counts down to an entry that it does not take."""

    def __init__(self):
        self.entries, self.fails, self.error = [], None, TrackingError("down")

    def trial(self, entry):
        if self.fails is not None:
            self.fails -= 1
            if self.fails < 0:
                raise self.error
        self.entries.append(entry)

    run = trial

    def close(self):
        pass

    def seen(self):
        return [e.name if isinstance(e, TrialEntry) else e.state.state for e in self.entries]


def running(number, *values):
    return toy_trial(number, state=TrialState.RUNNING, curve=toy_curve(*values))


def ended(number, *values):
    return toy_trial(number, curve=toy_curve(*values), accuracy=max(values))


@pytest.fixture
def queue(tmp_path):
    return Queue(tmp_path / "run" / "tracking")


@pytest.fixture
def follow(queue, tmp_path):
    """Return a function that shows trials to a progress of a new process."""

    folder = tmp_path / "run" / "tracking"

    def follow(*updates):
        progress = TrackedProgress(Silence(), Queue(folder), clock=lambda: 5.0)
        for trials in updates:
            progress.update(trials, seconds=1.0)

    return follow


@pytest.fixture
def sender(tmp_path):
    """Return a function that opens a sender to a toy tracker, as a new process would."""

    def opened(tracker):
        folder = RunFolder(tmp_path / "run")
        run = TrackedRun("id", toy_experiment(), folder.path, {})
        return closing(Sender(run, "toy", open_tracker=lambda *_: tracker))

    return opened


def changes(queue):
    return [
        (e.name, [p.point.metrics["accuracy"] for p in e.points], e.ended is not None)
        + (("anew",) if e.begins_anew else ())
        for e in (queued.entry for queued in queue.read())
    ]


def test_only_changes_are_queued(queue, follow):
    follow(
        [running(0)], [running(0)], [running(0, 0.1)], [running(0, 0.1, 0.2)], [ended(0, 0.1, 0.2)]
    )
    assert changes(queue) == [
        ("toy-0", [], False),
        ("toy-0", [0.1], False),
        ("toy-0", [0.2], False),
        ("toy-0", [], True),
    ]


def test_a_run_that_is_resumed_queues_nothing_twice(queue, follow):
    follow([running(0, 0.1)], [ended(0, 0.1), running(1, 0.3)])
    follow([ended(0, 0.1)], [ended(0, 0.1), running(1)], [ended(0, 0.1), ended(1, 0.3, 0.4)])
    assert changes(queue)[3:] == [("toy-1", [0.4], True)]


def test_a_trial_that_is_trained_anew_says_so(queue, follow):
    follow([running(0, 0.1, 0.2)])
    follow([running(0)], [running(0, 0.15)])
    assert changes(queue)[-1] == ("toy-0", [0.15], False, "anew")
    follow([ended(0, 0.15, 0.5)])
    follow([running(0)])  # its result was damaged
    assert changes(queue)[-1] == ("toy-0", [], False, "anew")


def test_a_line_that_was_cut_off_is_written_again(queue, follow, tmp_path):
    follow([ended(0, 0.1)], [ended(0, 0.1), ended(1, 0.2)])
    file = tmp_path / "run" / "tracking" / "queue.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert len(changes(queue)) == 1
    follow([ended(0, 0.1), ended(1, 0.2)])
    assert [name for name, *_ in changes(queue)] == ["toy-0", "toy-1"]


def test_a_full_disk_does_not_end_the_run(queue, tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    lines = Lines()
    progress = TrackedProgress(lines, queue)
    progress.update([ended(0, 0.1)], seconds=1.0)
    progress.update([ended(0, 0.1), ended(1, 0.2)], seconds=2.0)
    assert len([line for line in lines.lines if "trackers get no more" in line]) == 1


def test_entries_of_a_trial_are_sent_together(queue, follow):
    follow([running(0, 0.1)], [running(0, 0.1, 0.2), running(1)], [ended(0, 0.1, 0.2), running(1)])
    first, second = (queued.entry for queued in merged(list(queue.read())))
    assert (first.name, len(first.points), first.ended.metrics) == ("toy-0", 2, {"accuracy": 0.2})
    assert (second.name, second.ended) == ("toy-1", None)


def test_what_a_tracker_missed_is_sent_later_and_once(queue, follow, sender):
    follow([ended(0, 0.1)], [ended(0, 0.1), ended(1, 0.2)], [ended(n, 0.1) for n in range(3)])
    tracker = ToyTracker()
    tracker.fails = 2
    with sender(tracker) as first, pytest.raises(TrackingError):
        first.send()
    tracker.fails = None
    with sender(tracker) as second:
        assert second.send() == 1
        assert second.send() == 0
    assert tracker.seen() == ["toy-0", "toy-1", "toy-2"]


def test_a_batch_that_broke_off_and_grew_meanwhile(queue, follow, sender):
    follow([running(0, 0.1)], [running(0, 0.1), running(1)])
    tracker = ToyTracker()
    tracker.fails = 1
    with sender(tracker) as first, pytest.raises(TrackingError):
        first.send()
    follow([ended(0, 0.1, 0.2), running(1)])
    tracker.fails = None
    with sender(tracker) as second:
        second.send()
    points = [p.point.step for e in tracker.entries if e.name == "toy-0" for p in e.points]
    assert points == [1, 2]


def test_what_is_refused_is_said_and_left_out(queue, follow, sender):
    follow([ended(0, 0.1), ended(1, 0.2)])
    tracker = ToyTracker()
    tracker.fails, tracker.error = 1, Refused("toy-1 was refused")
    with sender(tracker) as opened:
        opened.send()
        assert opened.refused == ["toy-1 was refused"]
        assert not opened.has_more()


def test_how_many_are_left(queue, follow, sender, tmp_path):
    follow([ended(0, 0.1), ended(1, 0.2)])
    folder = tmp_path / "run" / "tracking"
    assert left(folder, "toy") == 2
    with sender(ToyTracker()) as opened:
        opened.send()
    assert left(folder, "toy") == 0


def test_the_last_state_of_a_run_is_sent(queue, sender):
    state = RunState("id", "running")
    queue.append([RunEntry(1.0, state), RunEntry(2.0, dataclasses.replace(state, state="failed"))])
    tracker = ToyTracker()
    with sender(tracker) as opened:
        opened.send()
    assert tracker.seen() == ["failed"]


@pytest.mark.parametrize("line", ["", "{", "[]", '{"kind": "run"}', '{"kind": "trial", "name": 1}'])
def test_lines_of_others_are_left_out(queue, follow, tmp_path, line):
    follow([ended(0, 0.1)])
    with (tmp_path / "run" / "tracking" / "queue.jsonl").open("a") as stream:
        stream.write(line + "\n")
    assert len(changes(queue)) == 1


def test_a_ledger_stays_small_and_survives_half_a_line(tmp_path):
    file = tmp_path / "toy.jsonl"
    with closing(JsonLedger(file)) as ledger:
        for number in range(3000):
            ledger.set("offset", str(number))
    with file.open("a") as stream:
        stream.write('["offset", "99')
    with closing(JsonLedger(file)) as ledger:
        assert ledger.get("offset") == "2999"
    lines = [line for line in file.read_text().splitlines() if line]
    assert [json.loads(line) for line in lines] == [["offset", "2999"]]


def test_one_at_a_time_sends(tmp_path):
    with (
        sending(tmp_path, "toy", waits=False),
        pytest.raises(MonitoringError, match="another process sends this run to toy"),
        sending(tmp_path, "toy", waits=False),
    ):
        pass

"""The end of a search whose trials do not end by themselves."""

from datetime import UTC, datetime, timedelta

from hpo_pipeline.engines.katib.services.ending import Ending
from tests.engines.katib.toy_objects import Toys


class Search:
    """A search with one trial that has no pod, and a clock that the test moves."""

    def __init__(self):
        self.cluster = Toys()
        self.cluster.trials["toy-0000"] = self.cluster.get_trial("toy-0000")
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.ending = Ending(self.cluster, "hpo", "toy", now=lambda: self.now)
        self.ending.decide("enough")

    def after(self, seconds):
        """Let time pass, look, and return what was changed."""
        self.now += timedelta(seconds=seconds)
        self.cluster.changes.clear()
        self.ending.check()
        return list(self.cluster.changes)


def test_a_trial_without_a_pod_is_killed_before_the_experiment_ends():
    search = Search()
    assert search.after(60) == []
    assert search.after(61) == [("patch", "trials", "toy-0000")]
    assert search.after(1) == []  # Katib has not seen it yet, and would make the job anew
    assert search.after(5) == [("delete", "jobs", "toy-0000")]
    assert search.after(5) == [("delete", "jobs", "toy-0000")]  # it may have come back
    *_, last = search.after(5)
    assert last == ("patch", "experiments", "toy")
    (condition,) = (
        c
        for c in search.cluster.trials["toy-0000"]["status"]["conditions"]
        if c["type"] == "Killed"
    )
    assert condition["message"] == "the search is over: enough"


def test_trials_that_end_by_themselves_are_left_alone():
    search = Search()
    done = {"conditions": [{"type": "EarlyStopped", "status": "True"}]}
    search.cluster.trials["toy-0000"]["status"] = done
    assert search.after(10) == [("patch", "experiments", "toy")]


def test_an_experiment_that_was_deleted_is_gone():
    search = Search()
    assert not search.ending.is_gone
    search.ending._experiment = "nobody"
    search.ending.check()
    assert search.ending.is_gone

"""`hpo dashboard`: a run in optuna-dashboard, which may look at it only."""

from __future__ import annotations

import json
import sys

import pytest

from hpo_pipeline.cli.dashboard import guarded
from hpo_pipeline.cli.main import main
from hpo_pipeline.search.journal import open_journal, read_journal
from tests.monitoring.test_run_cache import make_run


@pytest.fixture
def folder(tmp_path):
    import optuna

    found = make_run(tmp_path / "toy")
    study = optuna.create_study(study_name="toy", storage=open_journal(found.journal))
    study.tell(study.ask(), 0.5)
    return found


def ask(application, path, host="127.0.0.1:8080", method="GET"):
    """Return the status and the text of an answer."""
    said = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": host, "SERVER_NAME": "x"}
    environ |= {"SERVER_PORT": "8080", "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr}
    body = b"".join(application(environ, lambda status, *others: said.append(status)))
    return said[0], body.decode()


def test_the_study_is_read_while_it_grows_and_not_changed(folder):
    before = folder.journal.read_bytes()
    storage = read_journal(folder.journal)
    (study,) = storage.get_all_studies()
    assert [t.values for t in storage.get_all_trials(study._study_id)] == [[0.5]]
    with pytest.raises(PermissionError, match="nothing in it can be changed"):
        storage.delete_study(study._study_id)
    assert folder.journal.read_bytes() == before


def test_the_page_shows_the_study(folder):
    wsgi = pytest.importorskip("optuna_dashboard").wsgi
    status, text = ask(guarded(wsgi(read_journal(folder.journal))), "/api/studies")
    assert status == "200 OK"
    assert [study["study_name"] for study in json.loads(text)["study_summaries"]] == ["toy"]


def test_another_host_is_refused():
    status, text = ask(guarded(None), "/", host="evil.example:8080")
    assert (status[:3], text) == ("421", "this page is served as 127.0.0.1 and localhost only")


def test_a_run_without_a_journal(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", type(sys)("optuna_dashboard"))
    sys.modules["optuna_dashboard"].wsgi = None
    assert main(["dashboard", str(make_run(tmp_path / "toy").path)]) == 2
    assert "has no journal of Optuna" in capsys.readouterr().err


def test_the_package_may_be_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert main(["dashboard", str(tmp_path)]) == 2
    assert "pip install 'hpo-pipeline[dashboard]'" in capsys.readouterr().err

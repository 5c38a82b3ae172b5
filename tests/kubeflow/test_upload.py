"""Uploading the compiled pipeline: versions by content, and what is in the way of one."""

from __future__ import annotations

import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpo_pipeline.cli.main import main as hpo
from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.compiled import COMPILED, read_compiled
from hpo_pipeline.kubeflow.upload import upload
from tests.kubeflow.fake_kfp import FakeKfp

ROOT = Path(__file__).parents[2]
TEXT = {"parameterType": "STRING"}


def main(arguments: list[str]) -> int:
    return hpo(["pipeline", "upload", *arguments])


def versions(kfp: FakeKfp) -> list[str]:
    return [version["name"] for version in kfp.tables["versions"].values()]


def test_the_same_content_again_is_nothing_new(kfp, compiled, capsys):
    path = str(compiled())
    assert [main([path]), main([path])] == [0, 0]
    assert len(versions(kfp)) == 1
    assert versions(kfp)[0] == f"sha-{read_compiled(Path(path)).digest[:12]}"
    assert "unchanged" in capsys.readouterr().out


def test_the_compiled_pipeline_comes_with_the_package(kfp, capsys):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    data = settings["tool"]["setuptools"]["package-data"]["hpo_pipeline"]
    assert str(COMPILED.relative_to(ROOT / "hpo_pipeline")) in data
    assert main([]) == 0
    assert read_compiled(ROOT / "pipelines/hpo.yaml").digest[:12] in capsys.readouterr().out


def test_comments_are_no_content(kfp, compiled):
    path = compiled()
    main([str(path)])
    path.write_text("# another comment\n" + path.read_text("utf-8"), "utf-8")
    main([str(path)])
    assert len(versions(kfp)) == 1


def test_changed_content_is_a_new_version_and_so_is_going_back(kfp, compiled):
    path = compiled()
    first = path.read_text("utf-8")
    for text in (first, first.replace("2.17.0", "2.17.3"), first):
        path.write_text(text, "utf-8")
        assert main([str(path)]) == 0
    assert len(versions(kfp)) == 3
    assert versions(kfp)[2] == f"{versions(kfp)[0]}-2"  # recurring runs take the latest


def test_other_parameters_are_listed_and_nothing_is_sent(kfp, compiled, capsys):
    main([str(compiled(parallel=None, engine=TEXT, text=TEXT))])
    before = kfp.writes
    assert main([str(compiled())]) == 2
    said = capsys.readouterr().err
    assert "engine: text, required there, text in hpo.yaml" in said
    assert "text: text, required there, nothing in hpo.yaml" in said
    assert "parallel: nothing there, whole number in hpo.yaml" in said
    assert "--name" in said
    assert kfp.writes == before


def test_other_parameters_with_force_or_under_another_name(kfp, compiled):
    main([str(compiled(text=TEXT))])
    assert main([str(compiled()), "--name", "mine"]) == 0
    assert main([str(compiled()), "--force"]) == 0
    assert len(versions(kfp)) == 3


def test_eight_at_once_give_one_version(kfp, compiled):
    path = read_compiled(compiled())
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(upload, Kfp(kfp.endpoint), path, "hpo") for _ in range(8)]
        done = [call.result() for call in calls]
    assert len(versions(kfp)) == 1
    assert [uploaded.is_new for uploaded in done].count(True) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is not valid YAML"),
        ("kind: Workflow", "is not a compiled pipeline"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_pipeline(kfp, tmp_path, capsys, text, says):
    path = tmp_path / "x.yaml"
    if text:
        path.write_text(text, "utf-8")
    assert main([str(path)]) == 2
    assert says in capsys.readouterr().err
    assert kfp.calls == []


def test_no_endpoint(nowhere, compiled, capsys):
    assert main([str(compiled())]) == 2
    assert "KFP_ENDPOINT" in capsys.readouterr().err


def test_an_endpoint_that_is_down(nowhere, compiled, capsys):
    assert main([str(compiled()), "--endpoint", "http://127.0.0.1:1"]) == 1
    assert "http://127.0.0.1:1: cannot be reached: Connection refused" in capsys.readouterr().err


def test_an_endpoint_that_is_something_else(kfp, compiled, capsys):
    kfp.answer = lambda *request: (200, "<html>")
    assert main([str(compiled())]) == 1
    assert "is not the API of Kubeflow Pipelines" in capsys.readouterr().err


def test_a_token_is_read_from_its_file_and_never_shown(
    kfp, compiled, tmp_path, monkeypatch, capsys
):
    kfp.token = "right-one"
    assert main([str(compiled())]) == 1
    assert "requires a login (401); a token is read from the file" in capsys.readouterr().err
    token = tmp_path / "token"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
    assert main([str(compiled())]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err
    token.write_text("wrong-one\n", "utf-8")
    assert main([str(compiled())]) == 1
    said = capsys.readouterr().err
    assert f"refuses the token of {token} (401)" in said
    assert "wrong-one" not in said
    token.write_text("right-one\n", "utf-8")
    assert main([str(compiled())]) == 0


def test_what_is_not_allowed_is_said(kfp, compiled, capsys):
    kfp.denied = (
        "User 'system:serviceaccount:kfp:default' is not authorized with reason:  (request: "
        "&ResourceAttributes{Namespace:kfp,Verb:list,Group:pipelines.kubeflow.org,"
        "Version:v1beta1,Resource:pipelines,Subresource:,Name:,})"
    )
    assert main([str(compiled())]) == 1
    said = capsys.readouterr().err
    assert "system:serviceaccount:kfp:default may not list pipelines in namespace kfp" in said


def test_the_cookie_that_kfp_keeps_is_used(kfp, compiled, tmp_path):
    kept = tmp_path / ".config/kfp/context.json"
    kept.parent.mkdir(parents=True)
    kept.write_text('{"client_authentication_cookie": "session=1", "namespace": "me"}', "utf-8")
    assert main([str(compiled())]) == 0
    assert kfp.headers["Cookie"] == "session=1"
    (pipeline,) = kfp.tables["pipelines"].values()
    assert pipeline["namespace"] == "me"


def test_a_page_of_a_login_is_told_as_one(kfp, compiled, capsys):
    kfp.answer = lambda *request: (302, "<a href=/dex>login</a>")
    assert main([str(compiled())]) == 1
    assert "requires a login (302)" in capsys.readouterr().err


def test_an_upload_that_is_refused_without_a_word_can_be_given_again(kfp, compiled, capsys):
    kfp.refuses_uploads = True
    assert main([str(compiled())]) == 1
    assert "check that you may create pipelines and pipelines/versions" in capsys.readouterr().err
    assert len(kfp.tables["pipelines"]) == 1  # it has no version yet
    kfp.refuses_uploads = False
    assert main([str(compiled())]) == 0
    assert len(versions(kfp)) == 1

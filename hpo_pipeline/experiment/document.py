"""Reading a YAML file from a stranger: plain data only, no aliases, no silent surprises.

YAML 1.1 as PyYAML reads it turns `no` into False, `1e-3` into text, `010` into 8 and `1:30` into
90, keeps the last of two equal keys, and lets a few lines of aliases grow to gigabytes. None of
this happens here: a file is small, has neither aliases nor tags, and its texts are Unicode.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

from hpo_pipeline.errors import ExperimentError

MAX_BYTES = 200_000
"""PyYAML in Python reads some 100 kB a second of the worst kind of file."""
MAX_JSON_BYTES = 2_000_000
"""JSON, which run folders hold with indents, is read a hundred times as fast."""
MAX_DEPTH = 50


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's booleans and (decimal) numbers."""

    yaml_implicit_resolvers = {
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.rpartition(":")[2] not in ("bool", "int", "float", "timestamp")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=mark)
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(
                problem=f"tags ({event.tag}) are not allowed",
                problem_mark=event.start_mark,
            )
        is_text = isinstance(event, yaml.ScalarEvent)
        if is_text and (fault := _text_fault(event.value)):
            raise yaml.MarkedYAMLError(problem=fault, problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# PyYAML matches a pattern at the start of the text only, hence the \Z.
_SCALARS = {
    "bool": (r"(true|True|TRUE|false|False|FALSE)\Z", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)\Z", "-+0123456789"),
    "float": (
        r"([-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z",
        "-+.0123456789",
    ),
}
for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(_pattern), list(_first))


def _text_fault(text: str) -> str | None:
    """Return what keeps a text from being written to files and sent to servers."""
    if "\0" in text:
        return "a text holds a null character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "a text holds half of a surrogate pair, which is not Unicode"
    return None


def _json(content: bytes) -> dict[str, Any] | None:
    """Return the mapping that plain JSON holds; None leaves it to the reader of YAML.

    That is also who says what is wrong with it.
    """
    if not content.startswith(b"{"):
        return None
    try:
        found = json.loads(content, object_pairs_hook=_without_doubles, parse_constant=_refuse)
        text = json.dumps(found, ensure_ascii=False)
        text.encode("utf-8")
    except (ValueError, RecursionError):
        return None
    is_odd = "\\u0000" in text or _depth(found) > MAX_DEPTH
    return None if is_odd or not isinstance(found, dict) else found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _depth(found: Any) -> int:
    depth, level = 0, [found]
    while level:
        depth += 1
        parts = [x.values() if isinstance(x, dict) else x for x in level]
        level = [x for part in parts for x in part if isinstance(x, dict | list)]
    return depth


def _content(path: Path) -> bytes:
    """Return what a regular file holds, as far as its size is allowed, and one byte more."""
    # Without O_NONBLOCK, opening a pipe would wait for somebody to write to it.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ExperimentError(str(path), ["is not a regular file"])
        return file.read(MAX_JSON_BYTES + 1)


def read_document(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML (or JSON) file holds.

    Raises:
        ExperimentError: no such file, not YAML, an alias, a tag, a key twice, or not a mapping.
    """
    try:
        content = _content(path)
    except FileNotFoundError:
        raise ExperimentError(str(path), ["there is no such file"]) from None
    except OSError as error:
        raise ExperimentError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except ValueError as error:  # a null character in the path
        raise ExperimentError(repr(str(path)), [f"is not a path: {error}"]) from error
    if len(content) <= MAX_JSON_BYTES and (found := _json(content)) is not None:
        return found
    if len(content) > MAX_BYTES:
        raise ExperimentError(str(path), [f"is larger than {MAX_BYTES:,} bytes"])
    try:
        document = yaml.load(content.decode("utf-8"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise ExperimentError(str(path), ["is not UTF-8 text"]) from error
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise ExperimentError(str(path), [f"is not YAML: {_reason(error)}"]) from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise ExperimentError(str(path), ["must be a mapping, such as `name: tweets`"])
    return document


def _reason(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} in line {mark.line + 1}, column {mark.column + 1}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__

"""What a tracker remembers between two processes: texts by key, a line each, the last one holds."""

from __future__ import annotations

import json
from pathlib import Path

MOST_LINES = 2_000
"""Lines beyond twice the keys and this many are written anew when the file is opened."""


class JsonLedger:
    """A `Ledger` in a file that grows by a line for each change."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._texts: dict[str, str] = {}
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        for line in lines:
            self._take(line)
        file.parent.mkdir(parents=True, exist_ok=True)
        if len(lines) > 2 * len(self._texts) + MOST_LINES:
            draft = file.with_name(f".{file.name}")
            draft.write_text("".join(_line(*pair) for pair in self._texts.items()), "utf-8")
            draft.replace(file)
        self._stream = file.open("a", encoding="utf-8")
        self._stream.write("\n")  # a crash may have cut off the last line

    def get(self, key: str) -> str | None:
        return self._texts.get(key)

    def set(self, key: str, text: str) -> None:
        if self._texts.get(key) != text:
            self._texts[key] = text
            self._stream.write(_line(key, text))
            self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _take(self, line: str) -> None:
        try:
            key, text = json.loads(line)
        except (TypeError, ValueError):
            return
        self._texts[str(key)] = str(text)


def _line(key: str, text: str) -> str:
    return json.dumps([key, text]) + "\n"

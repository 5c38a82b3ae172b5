"""An experiment file that is made of that of another system, with what was lost on the way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

import yaml

from hpo_pipeline.spaces.imported import Imported

WIDTH = 98
_NAMES = ("name", "task", "objective", "space", "search", "stopping", "budget")
SCRIPT = "train.py"


@dataclass
class Draft:
    """The sections of an experiment while they are collected.

    Attributes:
        source: what the file was, for people.
        fixed: values that every trial has.
        lost: what could not be carried over, each with what to do.
        notes: what is not quite as it was.
    """

    source: str
    sections: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_space(self, found: Imported) -> None:
        """Add the section `space`, and what is said of it."""
        self.sections["space"] = found.parameters
        self.fixed |= found.fixed
        self.lost += [f"space.{text}" for text in found.lost]
        self.notes += [f"space.{text}" for text in found.notes]

    def add_objective(self, metric: object, goal: object) -> None:
        """Add the section `objective`; a metric gets a legal name."""
        text = str(metric or "")
        legal = re.sub(r"\W", "_", text) if text else "loss"
        if not legal[0].isalpha():
            legal = f"m_{legal}"
        if not text:
            self.lost.append("objective: no metric was named; write the one that is reported")
        elif legal != text:
            self.notes.append(f"objective: the metric {text} is called {legal} here; report it so")
        is_max = str(goal).lower().startswith("max")
        self.sections["objective"] = {"metric": legal, "goal": "maximize" if is_max else "minimize"}

    def lose_keys(self, content: Mapping[str, Any], known: Mapping[str, str], where: str) -> None:
        """Name the keys that nothing was made of.

        Args:
            known: the keys that are read, and those that need no counterpart with an empty text;
                others say what to do.
        """
        for key in content:
            if key not in known:
                self.lost.append(f"{where}{key}: has no counterpart, and is left out")
            elif known[key]:
                self.lost.append(f"{where}{key}: {known[key]}")

    def text(self) -> str:
        """Return the text of the file."""
        head = [f"# Made by `hpo import` of {self.source}."]
        for title, lines in (("Not carried over:", self.lost), ("Changed:", self.notes)):
            if lines:
                head.append(f"# {title}")
                for line in lines:
                    head += [f"#   {part}" for part in wrap(f"- {line}", WIDTH - 4)]
        if self.fixed:
            head.append("# The same in all trials: " + _flow(self.fixed))
        return "\n".join([*head, *self._sections()]) + "\n"

    def _sections(self) -> list[str]:
        lines = []
        for name in _NAMES:
            if name not in self.sections:
                continue
            value = self.sections[name]
            if name in ("task", "space"):
                lines.append(f"{name}:" if value else f"{name}: {{}}")
                lines += [f"  {key}: {_flow(entry)}" for key, entry in value.items()]
            else:
                lines.append(f"{name}: {_flow(value)}")
        return lines


def experiment_name(text: object) -> str:
    """Return a name that an experiment may have."""
    name = re.sub(r"[^a-z0-9]+", "-", str(text or "").lower()).strip("-")[:40].rstrip("-")
    return name if name[:1].isalpha() else f"imported-{name}".rstrip("-")[:40]


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...").strip()

"""Prints requirements of pyproject.toml, one a line: `.` names its own ones, other names extras.

A layer that installs this list is made anew when a dependency changes, and not with every other
change of pyproject.toml. Python alone is enough, for nothing is installed yet where it runs.
"""

import sys
import tomllib
from pathlib import Path


def main(names: list[str]) -> None:
    """Print what the names ask for."""
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    lists = {".": project["dependencies"], **project["optional-dependencies"]}
    for name in names:
        if name not in lists:
            sys.exit(f"pyproject.toml has no extra {name!r}; it has {', '.join(lists)}")
    print(*sorted({requirement for name in names for requirement in lists[name]}), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Write dashboards and alert rules: `python -m hpo_pipeline.monitoring manifests/monitoring`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from hpo_pipeline.monitoring.alerts import prometheus_rule, rules
from hpo_pipeline.monitoring.dashboards import DASHBOARDS, render

HEAD = "# Written by `python -m hpo_pipeline.monitoring manifests/monitoring`.\n"


def files() -> dict[str, str]:
    """Return the text of each file by its path."""
    found = {f"dashboards/{d.uid}.json": json.dumps(render(d), indent=1) + "\n" for d in DASHBOARDS}
    found["rules.yaml"] = HEAD + yaml.safe_dump(rules(), sort_keys=False, width=100)
    rule = yaml.safe_dump(prometheus_rule(), sort_keys=False, width=100)
    return {**found, "operator/prometheus-rule.yaml": HEAD + rule}


def main(folder: Path) -> None:
    """Write all files below a folder."""
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("manifests/monitoring"))

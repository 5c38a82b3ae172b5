"""The comparison of runs as one file that works offline: the live page's own view, with its data.

The modules of the page become one script, and the policy allows this script only, by its hash.
"""

from __future__ import annotations

import base64
import json
import os
import re
from hashlib import sha256
from html import escape
from pathlib import Path

from hpo_pipeline.reports.comparison import Comparison

STATIC = Path(__file__).parent / "static"
MODULES = ("dom.js", "charts.js", "comparison.js")
"""In the order in which they use each other."""
START = """
const data = JSON.parse(document.getElementById("data").textContent);
document.getElementById("main").replaceChildren(...comparison(data).nodes.filter(Boolean));
"""
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><main id="main"><noscript>This page needs JavaScript.</noscript></main>
<script type="application/json" id="data">{data}</script>
<script type="module">{script}</script>
</body></html>
"""


def comparison_page(found: Comparison) -> str:
    """Return the page."""
    style, script = (STATIC / "style.css").read_text("utf-8"), _script()
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; script-src {_hash(script)}; "
        f"style-src {_hash(style)}; img-src data:"
    )
    return PAGE.format(
        policy=policy,
        title=escape(f"Comparison: {', '.join(found.runs)}"),
        style=style,
        # Only "</script" or "<!--" could end or bend the element that the data are in.
        data=json.dumps(found.shown(), allow_nan=False).replace("<", "\\u003c"),
        script=script,
    )


def write_comparison(found: Comparison, out: Path) -> None:
    """Write the page.

    Raises:
        OSError: the file cannot be written; what was there before is still there.
    """
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        draft.write_text(comparison_page(found), "utf-8")
        draft.replace(out)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _script() -> str:
    texts = [(STATIC / name).read_text("utf-8") for name in MODULES]
    whole = "\n".join(texts)
    whole = re.sub(r"^import .*;\n", "", whole, flags=re.MULTILINE)
    return re.sub(r"^export ", "", whole, flags=re.MULTILINE) + START


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"

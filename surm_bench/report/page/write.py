"""Write the page as one file: markup, style, script, data and the plotting library."""

import base64
import gzip
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from surm_bench.system.atomic import atomic

SCRIPTS = ("elements.js", "state.js", "tables.js", "figures.js", "page.js")


def write_page(data: Mapping[str, Any], out: Path) -> Path:
    """Write the page and return its path.

    Args:
        data: parts (from page_part), claims, newest.
        out: the file; a missing folder is created.
    """
    payload = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    parts = {
        "style": _read("page.css"),
        "library": base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode(),
        "data": payload.replace("<", "\\u003c"),  # so that no text of a record can close the script element
        "script": "\n".join(map(_read, SCRIPTS)),
    }
    html = _read("page.html")
    for name, text in parts.items():
        html = html.replace(f"<!-- {name} -->", text, 1)
    with atomic(out) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return out


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")

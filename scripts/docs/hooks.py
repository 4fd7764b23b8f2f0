"""Hooks of mkdocs: the site has the layout of the repository, so that a relative link works in both.

The pages of docs/, the README, the results and their figures stay where they are. Reference pages are made from the
code, and formulas become MathML, which browsers show without a script.
"""

import html
import re
import subprocess
from pathlib import Path

import reference
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

CHECKOUT = Path(__file__).parents[2]
PAGES = (":(glob)*.md", "docs", "results", "LICENSE", "CITATION.cff")
SUFFIXES = {".md", ".png", ".csv", ".py", ".css", ".js", ".yaml", ".cff", ""}
MARK = re.compile(r"^<!-- made from the code: (\w+) -->$", re.MULTILINE)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the files of the site: tracked and new files of the documentation, and the files of the theme."""
    tracked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PAGES]
    names = subprocess.run(tracked, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.splitlines()
    theme = [file for file in files if file.src_dir != config.docs_dir]
    site = [
        File.generated(config, name, abs_src_path=str(CHECKOUT / name))
        for name in sorted(set(names))
        if Path(name).suffix in SUFFIXES and (CHECKOUT / name).is_file()
    ]
    return Files([*theme, *site])


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace each mark of a page by what the function of this name in reference.py returns."""
    return MARK.sub(lambda mark: getattr(reference, mark[1])(), markdown)


def on_page_content(content: str, **_: object) -> str:
    """Convert formulas from LaTeX to MathML."""
    return FORMULA.sub(
        lambda found: convert(html.unescape(found[3]), "inline" if found[2] == "(" else "block"), content
    )

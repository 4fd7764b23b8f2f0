"""Pages of the documentation, carried out as they are printed.

The first line of a block is ``# PATH``, which it is written to, or ``# PATH: in NAME``, whose value it is put into; a
block of bash is run.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from surm_bench.records import Record, read_file

BLOCK = re.compile(r"^```(python|yaml|bash)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Recipe:
    """A page or a section of one, and the folder that it is carried out in."""

    def __init__(self, text: str, tree: Path) -> None:
        self.blocks, self.tree = BLOCK.findall(text), tree

    def follow(self) -> str:
        """Do all that it says; returns what its commands print."""
        return "".join(self.run(block) if kind == "bash" else self.write(block) for kind, block in self.blocks)

    def write(self, block: str) -> str:
        path, place = re.match(r"# ([\w/.]+)(?:: in (\w+)$)?", block, re.MULTILINE).groups()
        file = self.tree / path
        if place is None:
            assert not file.exists(), f"{path} is there already"
            file.write_text(block)
        else:
            file.write_text(inserted(file.read_text(), place, block.splitlines()[1:]))
        return ""

    def run(self, commands: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        packages = os.pathsep.join([str(self.tree), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PATH": path, "PYTHONPATH": packages}
        shell = ["bash", "-e", "-o", "pipefail", "-c", commands]
        done = subprocess.run(shell, cwd=self.tree, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{commands}{done.stdout}{done.stderr}"
        return done.stdout

    def tests(self, *arguments: str) -> None:
        """Run tests of the copy; they pass, and there are some."""
        self.run(f"python -m pytest -x {' '.join(arguments)}")

    def record(self) -> Record:
        """Return the record of the only run of the recipe, and check that the run succeeded."""
        (file,) = self.tree.glob("results/runs/*/record.json")
        record = read_file(file)
        assert record.status == "success"
        return record


def inserted(text: str, place: str, new: list[str]) -> str:
    """Put new lines at the top of the dict or list of that name; imports go before the first import."""
    lines = text.splitlines()
    for line in new:
        opening = r"from " if line.startswith("from ") else rf"{place}\b.*[\[{{:]$"
        at = next(number for number, old in enumerate(lines) if re.match(opening, old))
        lines.insert(at if line.startswith("from ") else at + 1, line)
    return "\n".join(lines) + "\n"

"""surm-bench: make single runs and whole experiments, write their tables and figures, and measure adapters."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from surm_bench import __version__
from surm_bench.command import bench, completion, config_dirs, experiments, params, report, study, trained, verdict
from surm_bench.command.errors import exit_code

GROUPS = {  # heading in --help -> commands
    "Run": ("run",),
    "Experiments": ("plan", "tune", "experiment", "status", "reproduce"),
    "Results": ("collect", "merge", "compare", "verify", "tables", "figures", "verdict", "report", "dashboard"),
    "Use what was trained": ("evaluate", "predict", "export"),
    "Measure": ("params", "study", "bench"),
}


def main() -> None:
    """Run the console script ``surm-bench``."""
    sys.exit(exit_code(command, sys.argv[1:]))


def run() -> None:
    """Run ``python -m surm_bench``, which does the same as ``surm-bench run``."""
    sys.exit(exit_code(_run, sys.argv[1:]))


def command(arguments: Sequence[str]) -> int:
    """Run the command that the arguments of ``surm-bench`` name; return the exit code."""
    if arguments[:1] == ["run"]:
        return _run(arguments[1:])
    if completion.asked(arguments):
        return completion.complete(arguments, (name for names in GROUPS.values() for name in names))
    options = parser().parse_args(arguments)
    config_dirs.add_folders(options)
    return options.call(options)


def _run(arguments: Sequence[str]) -> int:
    from surm_bench.command import run  # imports Hydra, which the other commands do not need

    return run.run(arguments)


class Parser(argparse.ArgumentParser):
    """An argument parser that reports bad input in one line, as all other errors are reported."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments") and not message.partition(": ")[2].startswith("-"):
            message += ": put options after all names and key=value"
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help has more)\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; only ``run`` leaves its arguments to Hydra."""
    top = Parser(
        prog="surm-bench",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"surm-bench {__version__}")
    commands = top.add_subparsers(prog="surm-bench", required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    about = "make one run, or a sweep (-m): model=… task=… adapter=… and any other key; --cfg job shows all keys"
    commands.add_parser("run", description=about, add_help=False)
    for module in (experiments, trained, verdict, report, params, study, bench):
        module.add_commands(commands)
    top.epilog = _listed({name: command.description for name, command in commands.choices.items()})
    return top


def _listed(abouts: dict[str, str]) -> str:
    """Return a list of the commands with their descriptions, under the headings of their groups.

    Raises:
        ValueError: a command is under no heading, or under two.
    """
    if sorted(abouts) != sorted(name for names in GROUPS.values() for name in names):
        raise ValueError(f"name each of {', '.join(abouts)} once under a heading of GROUPS")
    width = max(map(len, abouts)) + 2
    lines = []
    for heading, names in GROUPS.items():
        lines += [f"{heading}:", *(f"  {name:<{width}}{abouts[name]}" for name in names), ""]
    return "\n".join([*lines, "surm-bench COMMAND --help lists the options of a command."])

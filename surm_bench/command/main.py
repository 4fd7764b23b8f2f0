"""surm-bench: one command for runs, experiments, their tables, and the measurements beside them."""

import argparse
import sys
from collections.abc import Sequence

from surm_bench import __version__
from surm_bench.command import bench, completion, experiments, params, report, study, trained, verdict
from surm_bench.command.errors import exit_code


def main() -> None:
    """The console script."""
    sys.exit(exit_code(command, sys.argv[1:]))


def run() -> None:
    """``python -m surm_bench``: the same as ``surm-bench run``."""
    sys.exit(exit_code(_run, sys.argv[1:]))


def command(arguments: Sequence[str]) -> int:
    """Do what the arguments of ``surm-bench`` say; returns the exit code."""
    if arguments[:1] == ["run"]:
        return _run(arguments[1:])
    if completion.asked(arguments):
        return completion.complete(arguments)
    options = _parser().parse_args(arguments)
    return options.call(options)


def _run(arguments: Sequence[str]) -> int:
    from surm_bench.command import run  # Hydra: the other commands say what they can without it

    return run.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="surm-bench", description=__doc__)
    parser.add_argument("--version", action="version", version=f"surm-bench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    about = "one run, or a sweep (-m): model=… task=… adapter=… and any other key; --cfg job shows them"
    commands.add_parser("run", help=about, add_help=False)
    for module in (experiments, trained, verdict, report, params, study, bench):
        module.add_commands(commands)
    return parser

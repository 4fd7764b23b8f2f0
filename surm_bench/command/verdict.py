"""``surm-bench verdict``: judge the claims by records."""

import argparse
from pathlib import Path

from surm_bench.command.errors import complain_of


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "judge the claims of results/claims.yaml by the records, and write results/README.md and results/verdict"
    parser = commands.add_parser("verdict", help=about, description=about)
    parser.add_argument("--results", type=Path, default=Path("results"), help="the folder of all experiments' results")
    parser.set_defaults(call=_run)


def _run(options: argparse.Namespace) -> int:
    from surm_bench.experiment.verdict import write_verdict  # imports scipy and matplotlib, which --help does not need

    written, problems = write_verdict(options.results)
    for path in written:
        print(path)
    return complain_of(problems)

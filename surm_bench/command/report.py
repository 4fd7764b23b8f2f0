"""``surm-bench report``: one HTML page of results, from records only."""

import argparse
from pathlib import Path

from surm_bench.command import config_dirs
from surm_bench.command.errors import complain_of
from surm_bench.errors import UserError


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "write one HTML page of results, from records alone: tables, figures, differences, every run"
    parser = commands.add_parser("report", help=about, description=about)
    parser.add_argument(
        "names", metavar="experiment", nargs="*", help="such as demo; default: all experiments with records"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="the folder of all experiments' results")
    parser.add_argument("--folder", type=Path, help="the results_dir of runs outside an experiment")
    parser.add_argument("--out", type=Path, default=Path("outputs/report.html"), help="the page")
    config_dirs.add_option(parser)
    parser.set_defaults(call=_run)


def _run(options: argparse.Namespace) -> int:
    from surm_bench.experiment.page import write_folder_report, write_report  # pandas is not needed for --help

    if options.folder and options.names:
        raise UserError("name experiments or give --folder, not both")
    if options.folder:
        page, problems = write_folder_report(options.folder, options.out)
    else:
        page, problems = write_report(options.results, options.names, options.out)
    print(page)
    return complain_of(problems)

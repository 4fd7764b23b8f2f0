"""One HTML page of results, from records alone: python scripts/report.py [NAME ...] [--folder FOLDER]"""

import checkout  # noqa: F401  (before the package)

# isort: split
import argparse
import sys
from pathlib import Path

from surm_bench.errors import UserError
from surm_bench.experiment.page import write_folder_report, write_report


def main() -> None:
    """Exit code 2 on bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="experiments, as demo; default: all that have records")
    parser.add_argument("--results", type=Path, default=Path("results"), help="the folder of all experiments' results")
    parser.add_argument("--folder", type=Path, help="the results_dir of runs that belong to no experiment")
    parser.add_argument("--out", type=Path, default=Path("outputs/report.html"))
    arguments = parser.parse_args()
    if arguments.folder and arguments.names:
        parser.error("name experiments or give --folder, not both")
    try:
        if arguments.folder:
            print(write_folder_report(arguments.folder, arguments.out))
        else:
            print(write_report(arguments.results, arguments.names, arguments.out))
    except UserError as error:
        print(f"surm-bench: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

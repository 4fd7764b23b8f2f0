"""Disturb runs and check that nothing is lost: python scripts/torture.py kills --number 40

Each part prints a Markdown table and exits with 1 if something was lost. results/reliability has what was measured.
"""

import checkout  # noqa: F401  (before the package)

# isort: split
import argparse
import sys

from reliability import corruption, cost, disk, hosts, kills, tracking, workers

PARTS = {  # name -> report, what it does, and what --number counts with its default
    "kills": (kills.report, "kill runs (SIGKILL) at random moments", ("kills", 40)),
    "workers": (workers.report, "share runs among eight processes, and kill three of them", ("runs", 60)),
    "hosts": (hosts.report, "run on two hosts with one disk whose processes have the same number", None),
    "disk": (disk.report, "run on a disk that is too small, fills up or is lost", None),
    "cost": (cost.report, "measure the time that a run of MiniLM takes to save its states", ("training steps", 200)),
    "corruption": (corruption.report, "flip bits in every file that is read", ("flips in each class of bytes", 20)),
    "tracking": (tracking.report, "mirror a run to a W&B server that is absent, hangs or dies", None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True, dest="part", metavar="PART")
    for name, (_, about, counted) in PARTS.items():
        part = parts.add_parser(name, help=about, description=about)
        if counted is not None:
            what, number = counted
            part.add_argument("--number", type=int, default=number, help=f"number of {what} (default: {number})")
    given = vars(parser.parse_args())
    report = PARTS[given.pop("part")][0]
    sys.exit(0 if report(**given) else 1)


if __name__ == "__main__":
    main()

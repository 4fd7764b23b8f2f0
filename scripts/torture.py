"""Disturb runs and see that nothing is lost: python scripts/torture.py kills --number 40

Each part prints a table in Markdown and ends with 1 where something was lost. results/reliability shows what came out.
"""

import checkout  # noqa: F401  (before the package)

# isort: split
import argparse
import sys

from reliability import corruption, cost, disk, hosts, kills, tracking, workers

PARTS = {
    "kills": (kills.report, "kill runs (SIGKILL) at random moments", 40),
    "workers": (workers.report, "eight processes on so many runs, three of them killed", 60),
    "hosts": (hosts.report, "two hosts with equal numbers of processes on one disk", None),
    "disk": (disk.report, "a disk that is too small, full or gone", None),
    "cost": (cost.report, "what saving states costs a run of so many steps of MiniLM", 200),
    "corruption": (corruption.report, "so many flipped bytes of each file", 20),
    "tracking": (tracking.report, "a W&B server that is absent, hangs or dies", None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True, dest="part", metavar="PART")
    for name, (_, about, number) in PARTS.items():
        part = parts.add_parser(name, help=about, description=about)
        if number is not None:
            part.add_argument("--number", type=int, default=number, help=f"{number} unless given")
    given = vars(parser.parse_args())
    report = PARTS[given.pop("part")][0]
    sys.exit(0 if report(**given) else 1)


if __name__ == "__main__":
    main()

"""Draw this benchmark's subset of CIFAR from the official images: python scripts/cifar_subset.py cifar10|cifar100 DIR

The subset of CIFAR-100 is not of the official split: its scores cannot be compared with published ones.
"""

import checkout  # noqa: F401  (before the package)

# isort: split
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cifar.subsets import DATA_SETS, rebuild

from surm_bench.command.errors import exit_code


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=DATA_SETS)
    parser.add_argument("folder", type=Path, help="where <name>/train.parquet and <name>/test.parquet go")
    parser.add_argument(
        "--source",
        type=Path,
        help="the official images: cifar-10-binary.tar.gz or cifar-100-binary.tar.gz, a folder with its .bin files, or "
        "one with <name>/{train,test}.parquet (default: the hub)",
    )
    options = parser.parse_args(arguments)
    for file in rebuild(options.name, options.folder, options.source):
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main, sys.argv[1:]))

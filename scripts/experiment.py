"""The same as surm-bench plan|tune|run|tables|… for experiments, where run is surm-bench's experiment."""

import checkout  # noqa: F401  (before the package)

# isort: split
import sys

from surm_bench.command.main import main

sys.argv[1:] = ["experiment" if argument == "run" else argument for argument in sys.argv[1:2]] + sys.argv[2:]
main()

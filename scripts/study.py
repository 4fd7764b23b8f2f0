"""Run a study of the paper: python scripts/study.py approximation|pinwheel|cka [--quick] [--folder DIR]"""

import checkout  # noqa: F401  (before the package)

# isort: split
from surm_bench.studies.cli import main

main()

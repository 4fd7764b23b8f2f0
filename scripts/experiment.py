"""Run, tune, plan and report experiments: python scripts/experiment.py run|tune|plan|tables|figures [NAME ...]"""

import checkout  # noqa: F401  (before the package)

# isort: split
from surm_bench.experiment.main import main

main()

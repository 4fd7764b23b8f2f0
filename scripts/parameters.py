"""Count every adapter's parameters on a model, without weights: python scripts/parameters.py roberta_base|…|all"""

import checkout  # noqa: F401  (before the package)

# isort: split
from surm_bench.parameter_table import main

main()

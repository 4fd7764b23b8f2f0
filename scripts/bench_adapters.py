"""Measure the adapters: python scripts/bench_adapters.py [--quick] [--only layer networks …] [--folder DIR]"""

import checkout  # noqa: F401  (before the package)

# isort: split
from surm_bench.benchmark.main import main

main()

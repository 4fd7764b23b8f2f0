"""Draw this benchmark's subset of CIFAR from the official images: python scripts/cifar_subset.py cifar10|cifar100 DIR

The subset of CIFAR-100 is not of the official split: its scores cannot be compared with published ones.
"""

import checkout  # noqa: F401  (before the package)

# isort: split
from surm_bench.tasks.cifar_subsets import main

main()

"""Judge the claims of results/claims.yaml by the records: python scripts/verdict.py [results]"""

import checkout  # noqa: F401  (before the package)

# isort: split
import sys
from pathlib import Path

from surm_bench.experiment.verdict import write_verdict

if __name__ == "__main__":
    for path in write_verdict(Path(*sys.argv[1:2] or ["results"])):
        print(path)

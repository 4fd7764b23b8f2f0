"""Run an experiment and write its table and figures: python scripts/experiment.py demo [--tune] [--results-dir DIR]"""

from surm_bench.experiment_cli import main

main()

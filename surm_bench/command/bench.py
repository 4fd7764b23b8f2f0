"""``surm-bench bench``: speed and memory of the adapters, side by side."""

import argparse
from pathlib import Path

PARTS = ("layer", "networks", "residual", "merged", "harness", "width", "tokens", "numerics", "unit_costs")


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "measure the adapters' speed, memory and rounding errors side by side, and write tables and figures"
    parser = commands.add_parser("bench", help=about, description=about)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and few repetitions, in about a minute; writes to outputs/"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default: all)")
    parser.add_argument("--folder", type=Path, help="where to write (default: results/performance)")
    parser.set_defaults(call=_run)


def _run(options: argparse.Namespace) -> int:
    from surm_bench.benchmark.main import benchmark  # imports torch, so only when needed

    folder = options.folder or Path("outputs" if options.quick else "results") / "performance"
    benchmark(folder, options.only, options.quick)
    print(f"\nWritten to {folder}")
    return 0

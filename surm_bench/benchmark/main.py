"""Measure the adapters' speed, memory and rounding errors side by side, and write tables and figures."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from surm_bench.benchmark.parts import IN_FP32, PARTS
from surm_bench.benchmark.plan import FULL, ON_GPU, QUICK, BenchmarkPlan
from surm_bench.benchmark.setting import settings
from surm_bench.benchmark.tables import target_table
from surm_bench.report.console import print_table
from surm_bench.report.tables import Table, to_csv, to_markdown
from surm_bench.system.atomic import atomic
from surm_bench.system.environment import describe


def benchmark(folder: Path, parts: Sequence[str], quick: bool) -> None:
    """Write <part>.{md,csv,png,svg,pdf} of each part, and targets.md, to folder; an interrupt keeps finished parts."""
    plan = QUICK if quick else ON_GPU if torch.cuda.is_available() else FULL
    machine = machine_line()
    for name in parts:
        print(f"measuring: {name}", file=sys.stderr)
        data = measure_part(name, plan).assign(machine=machine)
        table = PARTS[name].table(data, plan, machine)
        write(table, folder / name)
        if PARTS[name].figure:
            PARTS[name].figure(data, folder / name)
        print_table(table)
    table = target_table({name: pd.read_csv(path) for name in PARTS if (path := folder / f"{name}.csv").exists()})
    if table.rows:
        write(table, folder / "targets")
        print_table(table)


def measure_part(name: str, plan: BenchmarkPlan) -> pd.DataFrame:
    """Measure the part in every setting, or only in the first setting, plain fp32."""
    wanted = settings()[: 1 if plan.quick or name in IN_FP32 else None]
    return pd.concat(
        [PARTS[name].measure(setting, plan).assign(setting=str(setting)) for setting in wanted], ignore_index=True
    )


def machine_line() -> str:
    """Return processor, cores, threads, versions and the settings of glibc's allocator, in one line."""
    there = describe()
    versions = [f"{name} {there[name]}" for name in ("torch", "transformers", "peft", "timm")]
    allocator = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("MALLOC_")]
    software = ", ".join([f"Python {there['python']}", *versions, *allocator])
    return f"{there['device']}, {there['threads']} threads; {software}"


def write(table: Table, path: Path) -> None:
    """Write path.md and path.csv."""
    for suffix, text in ((".md", to_markdown(table)), (".csv", to_csv(table))):
        with atomic(path.with_suffix(suffix)) as temporary:
            temporary.write_text(text, encoding="utf-8")

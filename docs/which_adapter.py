"""Writes the table of docs/which_adapter.md from the tables of results: the best adapters of each budget.

python docs/which_adapter.py
"""

from pathlib import Path

import pandas as pd

CHECKOUT = Path(__file__).parents[1]
PAGE = CHECKOUT / "docs" / "which_adapter.md"
BEGIN, END = "<!-- written by which_adapter.py -->\n", "<!-- end -->"
COLUMNS = {  # an experiment, a task of its table, and how the page names it
    ("reproduction_images", "images/cifar100"): "CIFAR-100, 1,000 images, ViT-Tiny",
    ("reproduction_text", "glue/sst2"): "SST-2, MiniLM",
    ("reproduction_text", "glue/stsb"): "STS-B, MiniLM",
    ("catalogue", "digits"): "digits, a ViT 64 wide",
}
BUDGETS = {  # by how many times fewer parameters than LoRA r=8 on q and v; on q, k and v LoRA r=1 has 5.3 times fewer
    "as LoRA r=1, or fewer": (5, float("inf")),
    "between": (1.5, 5),
    "as LoRA r=8": (0.5, 1.5),
    "more": (0, 0.5),
}
BEST = 3


def table() -> str:
    rows = [["parameters", *COLUMNS.values()], ["---"] * (1 + len(COLUMNS))]
    for budget, (least, below) in BUDGETS.items():
        rows.append([budget, *(_best(*column, least, below) for column in COLUMNS)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _best(experiment: str, task: str, least: float, below: float) -> str:
    """Return the best adapters whose ratio lies in [least, below), with mean and standard deviation over the seeds."""
    frame = pd.read_csv(CHECKOUT / "results" / experiment / "table.csv")
    frame = frame[(frame.task == task) & (frame.lora_ratio >= least) & (frame.lora_ratio < below)]
    best = frame.sort_values("mean", ascending=False, kind="stable").head(BEST)
    return (
        "<br>".join(f"{row.label} {100 * row['mean']:.1f} ± {100 * row['std']:.1f}" for _, row in best.iterrows())
        or "—"
    )


def page() -> str:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

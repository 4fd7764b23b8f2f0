"""Writes the parts of docs/which_adapter.md that follow from the results: the answer, the table and the options.

python docs/which_adapter.py

The sentences that depend on numbers are checked here: the script fails if the results do not support them any more.
"""

import json
import re
from pathlib import Path
from statistics import fmean
from textwrap import fill

import pandas as pd

from surm_bench.config.composition import resolved
from surm_bench.experiment.files import load_experiment

CHECKOUT = Path(__file__).parents[1]
PAGE = CHECKOUT / "docs" / "which_adapter.md"
PART = re.compile(r"(<!-- written by which_adapter.py: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
IMAGES = ("reproduction_images", "images/cifar100")
SST2, STSB = ("reproduction_text", "glue/sst2"), ("reproduction_text", "glue/stsb")
DIGITS = ("catalogue", "digits")
COLUMNS = {  # an experiment, a task of its table, and how the page names it
    IMAGES: "CIFAR-100, 1,000 images, ViT-Tiny",
    SST2: "SST-2, MiniLM",
    STSB: "STS-B, MiniLM",
    DIGITS: "digits, a ViT 64 wide",
}
SMALL = "as LoRA r=1, or fewer"
BUDGETS = {  # by how many times fewer parameters than LoRA r=8 on q and v
    SMALL: (5, float("inf")),
    "between": (1.5, 5),
    "as LoRA r=8": (0.5, 1.5),
    "more": (0, 0.5),
}
BEST = 3


def results(experiment: str, task: str) -> pd.DataFrame:
    """Return the rows of an experiment's table for a task, the best first, with means and deviations × 100."""
    frame = pd.read_csv(CHECKOUT / "results" / experiment / "table.csv")
    frame = frame[frame["task"] == task].sort_values("mean", ascending=False, kind="stable")
    return frame.assign(mean=100 * frame["mean"], std=100 * frame["std"])


def within(frame: pd.DataFrame, budget: str) -> pd.DataFrame:
    least, below = BUDGETS[budget]
    return frame[(frame["lora_ratio"] >= least) & (frame["lora_ratio"] < below)]


def cell(frame: pd.DataFrame, budget: str) -> pd.DataFrame:
    """Return the best adapters of a budget, then LoRA if it is not among them.

    This LoRA has the largest rank that the budget allows. On the digits only r=8 was run.
    """
    best = within(frame, budget).head(BEST)
    ranks = frame[frame["label"].str.fullmatch(r"LoRA r=\d+")].sort_values("adapter_parameters")
    allowed = ranks[ranks["lora_ratio"] >= BUDGETS[budget][0]]
    reference = allowed.tail(1) if len(allowed) else ranks.head(1)
    return pd.concat([best, reference[~reference["label"].isin(best["label"])]])


def table() -> str:
    frames = [results(*column) for column in COLUMNS]
    rows = [["parameters (× fewer than LoRA r=8 on q, v)", *COLUMNS.values()], ["---"] * (1 + len(COLUMNS))]
    for budget in BUDGETS:
        rows.append([f"{budget} ({_bounds(budget)})", *(_shown(cell(frame, budget), budget) for frame in frames)])
    return _markdown(rows)


def _bounds(budget: str) -> str:
    least, below = BUDGETS[budget]
    if below == float("inf"):
        return f"≥ {least}×"
    return f"{least}–{below}×" if least else f"< {below}×"


def _shown(rows: pd.DataFrame, budget: str) -> str:
    """Return the text of a cell; a LoRA that is there only as the reference is in italics."""
    best = set(within(rows, budget).head(BEST)["label"])
    texts = [(row["label"], f"{row['label']} {row['mean']:.1f} ± {row['std']:.1f}") for _, row in rows.iterrows()]
    return "<br>".join(text if label in best else f"*{text}*" for label, text in texts)


def options() -> str:
    """Return the table of the options that make each adapter above, from the files of the experiments."""
    given: dict[str, dict[bool, str]] = {}  # label -> on the digits -> options
    for column in COLUMNS:
        frame = results(*column)
        named = {resolved(list(overrides)).adapter.label: overrides for overrides in _adapters(column[0])}
        for label in pd.concat([cell(frame, budget) for budget in BUDGETS])["label"]:
            shown = " ".join(f'"{o}"' if "[" in o else o for o in named[label])
            assert given.setdefault(label, {}).setdefault(column == DIGITS, shown) == shown, label
    rows = [["adapter", "in the first three columns", "on the digits"], ["---"] * 3]
    rows += [[label, *(f"`{of[d]}`" if d in of else "—" for d in (False, True))] for label, of in given.items()]
    return _markdown(rows)


def _adapters(experiment: str) -> list[list[str]]:
    return list(load_experiment(experiment)[0].adapters.values())


def answer() -> str:
    """Return the sentences that answer the page's question, after a check that the results support them."""
    images, *texts = (results(*column).set_index("label", drop=False) for column in (IMAGES, SST2, STSB))
    starts = ["Houlsby m=1", "LoRA r=1", "LoRA r=1"]
    of_structures, of_larger = [], []
    for frame, start in zip((images, *texts), starts, strict=True):
        small, rest = within(frame, SMALL), frame[frame["lora_ratio"] < BUDGETS[SMALL][0]]
        structured = small[small["family"] == "structured"].iloc[0]
        assert small.index[0] == start and structured["mean"] < frame["mean"][start]
        assert frame["mean"]["LoRA r=8"] <= frame["mean"]["LoRA r=1"]
        of_structures.append(f"{structured['label']} {structured['mean']:.1f}")
        of_larger.append((rest.iloc[0]["mean"] - frame["mean"][start], rest.index[0]))
    assert images.index[0] == "BitFit"
    times = images["adapter_parameters"]["BitFit"] / images["adapter_parameters"]["LoRA r=1"]
    most, which = max(of_larger)
    assert which == "Full fine-tuning" and most == of_larger[1][0]
    small, large = ([f"{frame['mean'][f'LoRA r={r}']:.1f}" for frame in (images, *texts)] for r in (1, 8))
    return _wrapped(
        "**With as few parameters as LoRA r=1, start with LoRA r=1 for text "
        f"({small[1]} on SST-2, {small[2]} on STS-B) and with Houlsby m=1 ({images['mean']['Houlsby m=1']:.1f} on "
        f"CIFAR-100) or BitFit ({images['mean']['BitFit']:.1f}, "
        f"{times:.1f} times as many parameters) for images.** No structured matrix has a higher mean than these at the "
        f"same budget on the two pretrained models, ViT-Tiny and MiniLM; the best are {of_structures[0]} on CIFAR-100, "
        f"{of_structures[1]} on SST-2 and {of_structures[2]} on STS-B. More parameters did not help LoRA on the three "
        f"tasks: r=8 has {large[0]}, {large[1]} and {large[2]}, r=1 has {small[0]}, {small[1]} and {small[2]}. The "
        f"largest gain of any larger adapter over the one to start with is {most:.1f} points, by full fine-tuning on "
        "SST-2."
    )


def memorised() -> str:
    """Return why full fine-tuning is below BitFit on images, with the training losses of the records."""
    losses: dict[str, list[float]] = {}
    for line in (CHECKOUT / "results" / IMAGES[0] / "records.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["config"]["task"]["validation"] == "dev":
            label = record["config"]["adapter"]["label"]
            losses.setdefault(label, []).append(record["history"][-1]["train_loss"])
    means = {label: fmean(of) for label, of in losses.items() if label != "Linear probe"}
    scores = results(*IMAGES).set_index("label")["mean"]
    assert min(means, key=means.__getitem__) == "Full fine-tuning" and max(means.values()) < 0.01
    (full_loss, full), (bitfit_loss, bitfit) = ((means[a], scores[a]) for a in ("Full fine-tuning", "BitFit"))
    assert full < bitfit
    return _wrapped(
        "Why is full fine-tuning below BitFit on images? Every adapter memorises the 1,000 images (training loss below "
        f"0.01 at the end). Full fine-tuning fits them best (loss {full_loss:.4f}; BitFit {bitfit_loss:.4f}) and is "
        f"below BitFit on new images ({full:.1f} against {bitfit:.1f}): with so few images, "
        "closer fitting does not help. With more images this can differ."
    )


def head() -> str:
    """Return how large the head is beside the adapters."""
    counts = pd.read_csv(CHECKOUT / "results" / "parameters" / "roberta_base.csv")
    counts = counts[counts["adapter"] > 0]
    size, fewer = counts["head"].iloc[0], (counts["adapter"] < counts["head"]).sum()
    assert fewer > len(counts) / 2
    return _wrapped(
        "The budget is the number of trained parameters of the adapter. The head is trained by every method and is not "
        f"counted; it is often larger than the adapter: on RoBERTa-base it has {size:,} parameters, more than {fewer} "
        f"of the {len(counts)} methods."
    )


def _markdown(rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _wrapped(text: str) -> str:
    """Return a paragraph in lines of at most 120 characters."""
    return fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n"


def page() -> str:
    parts = {made.__name__: made for made in (answer, table, head, options, memorised)}
    text = PAGE.read_text(encoding="utf-8")
    return PART.sub(lambda part: f"{part[1]}\n{parts[part[2]]()}\n{part[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

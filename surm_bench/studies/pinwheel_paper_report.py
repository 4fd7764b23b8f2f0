"""The table and the figures of the pinwheel in the paper's setting, made only from its records. Without torch."""

from pathlib import Path

import pandas as pd

from surm_bench.report.tables import MISSING, Cell, Column, Table, marks
from surm_bench.studies import pinwheel_report
from surm_bench.studies.pinwheel_report import (
    REFERENCES,
    accuracy_text,
    at_edge,
    diverged_methods,
    method_looks,
    summary_frame,
)
from surm_bench.studies.reporting import mean_and_deviation

TITLES = {
    "embedding frozen": "Embedding frozen (as Fig. 4): the hidden matrix and the head are trained",
    "embedding trained": "Embedding trained (as Fig. 9)",
}
LORA, DENSE, UNTRAINED = "low_rank", "dense", "dense, not trained"
STRUCTURED = ("circulant", "symmetric_toeplitz", "toeplitz")
MEASURES = {"cka_features": "CKA, features", "cka_weights": "CKA, matrix"}
COLUMNS = ("Setting", "Hidden matrix", "Trained", "Rate", "Accuracy", "Loss", *MEASURES.values())
COMPARED = {"cka_features": "features", "cka_weights": "the hidden matrix"}
CAPTION = (
    "A network with two hidden layers of {width} units on a pinwheel of {arms} arms, {train_per_arm} points each: an "
    "embedding (2 → {width}), the hidden matrix, which is the structured one itself or a dense one, and the head. "
    "{steps:,} epochs of Adam on all points; its rate by the accuracy on {tuning} other seed(s), of {rates}, falling "
    "linearly to zero; chosen at an edge of this grid: {edges}. Accuracy × 100 on fresh points, loss of the last "
    "step; mean ± sample standard deviation over {seeds} seeds. CKA is linear, with the dense network of the "
    "same seed: of what the head sees of the fresh points, and of the hidden matrix, its rows as examples. It is above "
    "0 for unrelated matrices. With a frozen embedding, another seed has another embedding. Points, noise, rates and "
    "what CKA compares are ours, where the paper's text leaves them open. Bold: best of the four structures, "
    "underlined: second; {missing}: not measured. {findings}"
)
PAPERS_LOSS = 0.9  # LoRA's loss at the end of both figures
LOSS = (
    "The paper: LoRA's training loss stays at about {paper}, those of the structured matrices end near the dense one's "
    "(Fig. 4 and 9, by the curves in the authors' repository, arijitthegame/structured-matrices-PEFT at a28432f). "
    "Here, LoRA's loss is the highest in {highest}, and within a factor of two of that size in {close}{size}."
)
SIZE = "; {setting}: {lora:.3f}, the structured {low:.3f} to {high:.3f}, dense {dense:.3f}"
ALIKE = (
    "The paper: by CKA the structured matrices, circulant first, are nearer to the fully trained one than LoRA (Table "
    "8; its cells are not at hand: this is from a description made by a machine, ai-paper-reviewer.com, MXOzgjlWDF). "
    "Here, {measures}. A dense network that was not trained is ahead of {untrained} of {compared} trained ones: CKA "
    "alone does not say what training did."
)
MEASURE = "by the CKA of {what} LoRA is the last in {last}, and circulant the first in {first}"


def similarity_table(records: dict) -> Table:
    """Return the table of methods and references in each setting: accuracy, loss and CKA with the dense network."""
    cells = pd.DataFrame(records["similarities"]).groupby(["setting", "method"], sort=False)
    seeds = len(records["settings"]["seeds"])
    found = cells[list(MEASURES)].agg(["mean", "std"])
    found.columns = ["_".join(names) for names in found.columns]
    data = summary_frame(records).merge(found.reset_index(), on=["setting", "method"], how="outer", sort=False)
    data.loc[data["n"] < seeds, list(found.columns)] = float("nan")
    look, rows = method_looks(records), []
    for setting in TITLES:
        of_setting = data[data["setting"] == setting].set_index("method")
        runs = [run["method"] for run in records["runs"] if run["setting"] == setting]
        methods = list(dict.fromkeys([*runs, *(row["method"] for row in records["similarities"])]))
        of_setting = of_setting.loc[methods]
        shown = [
            None if name in REFERENCES or pd.isna(a) else round(100 * a, 1)
            for name, a in of_setting["accuracy"].items()
        ]
        for row, mark in zip(of_setting.itertuples(), marks(shown), strict=True):
            texts = [MISSING if pd.isna(row.trained) else f"{row.trained:,.0f}"]
            texts += [MISSING if pd.isna(row.rate) else f"{row.rate:g}", accuracy_text(row, seeds)]
            texts += [mean_and_deviation(row.loss, row.loss_std, "{:.3f}")]
            texts += [
                mean_and_deviation(getattr(row, f"{name}_mean"), getattr(row, f"{name}_std"), "{:.2f}")
                for name in MEASURES
            ]
            label = look[row.Index]["label"] if row.Index in look else row.Index
            first = setting if row.Index == methods[0] else ""
            cells_of_row = zip(COLUMNS, [first, label, *texts], strict=True)
            rows.append([Cell(text, mark if column == "Accuracy" else "") for column, text in cells_of_row])
    return Table([Column(title) for title in COLUMNS], rows, _caption(records, data), data)


def draw_regions(records: dict, path: Path) -> None:
    """Draw the decision maps of the first seed with test points."""
    pinwheel_report.draw_regions(records, path, TITLES)


def _caption(records: dict, data: pd.DataFrame) -> str:
    settings, diverged = records["settings"], diverged_methods(records, data)
    counts = {"seeds": len(settings["seeds"]), "tuning": len(settings["tuning_seeds"])}
    rates = {"rates": ", ".join(f"{rate:g}" for rate in settings["rates"]), "edges": at_edge(records, data)}
    if diverged:
        findings = f"No mean where a seed diverged, and no comparison with the paper: {diverged}."
    else:
        findings = f"{_losses(data)} {_similarities(data)}"
    return CAPTION.format(**settings | counts | rates, missing=MISSING, findings=findings)


def _losses(data: pd.DataFrame) -> str:
    """Return a sentence that compares the highest loss with Figures 4 and 9."""
    losses = data.dropna(subset="loss").pivot(index="setting", columns="method", values="loss")
    structured = losses.drop(columns=[LORA, DENSE])
    size = [
        SIZE.format(setting=setting, lora=row[LORA], dense=row[DENSE], low=own.min(), high=own.max())
        for (setting, row), (_, own) in zip(losses.iterrows(), structured.iterrows(), strict=True)
    ]
    highest = int((losses.idxmax(axis=1) == LORA).sum())
    close = int(losses[LORA].between(PAPERS_LOSS / 2, 2 * PAPERS_LOSS).sum())
    found = {"highest": _agreement(highest, len(losses)), "close": _agreement(close, len(losses))}
    return LOSS.format(paper=PAPERS_LOSS, size="".join(size), **found)


def _similarities(data: pd.DataFrame) -> str:
    """Return a sentence that compares the network most similar to the dense one with Table 8."""
    measures, untrained, compared = [], 0, 0
    for name, what in COMPARED.items():
        alike = data.dropna(subset=f"{name}_mean").pivot(index="setting", columns="method", values=f"{name}_mean")
        structured, reference = alike[[*STRUCTURED]], alike[UNTRAINED]
        last = int(structured.gt(alike[LORA], axis=0).all(axis=1).sum())
        first = int((structured.idxmax(axis=1) == "circulant").sum())
        found = {"last": _agreement(last, len(alike)), "first": _agreement(first, len(alike))}
        measures.append(MEASURE.format(what=what, **found))
        trained = alike[[LORA, *STRUCTURED]]
        untrained, compared = untrained + int(trained.lt(reference, axis=0).sum(axis=None)), compared + trained.size
    return ALIKE.format(measures="; ".join(measures), untrained=untrained, compared=compared)


def _agreement(count: int, settings: int) -> str:
    """Return the number of settings that agree with the paper, in words."""
    return f"{count} of {settings} settings, {'as' if count == settings else 'unlike'} there"

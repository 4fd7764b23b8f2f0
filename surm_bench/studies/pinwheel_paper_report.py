"""The table and the figures of the pinwheel in the paper's setting, from its records alone. No torch here."""

from pathlib import Path

import pandas as pd

from surm_bench.report.tables import MISSING, Cell, Column, Table, marks, write_table
from surm_bench.studies import measurements
from surm_bench.studies.pinwheel_report import REFERENCES, draw_losses, draw_regions, method_looks, summary_frame

TITLES = {
    "embedding frozen": "Embedding frozen (as Fig. 4): the hidden matrix and the head are trained",
    "embedding trained": "Embedding trained (as Fig. 9)",
}
MEASURES = {"cka_features": "CKA, features", "cka_weights": "CKA, matrix"}
CAPTION = (
    "A network with two hidden layers of {width} units on a pinwheel of {arms} arms, {train_per_arm} points each: an "
    "embedding (2 → {width}), the hidden matrix, which is the structured one itself or a dense one, and the head. "
    "{steps:,} epochs of Adam on all points; its rate by the accuracy on {tuning} other seed(s), of {rates}, falling "
    "linearly to zero. Accuracy × 100 on fresh points, loss of the last step; mean ± sample standard deviation over "
    "{seeds} seeds. CKA is linear, with the dense network of the same seed: of what the head sees of the fresh points, "
    "and of the hidden matrix, its rows as examples. It is above 0 for unrelated matrices. With a frozen embedding, "
    "another seed has another embedding. Points, noise, rates and what CKA compares are ours, where the paper's text "
    "leaves them open. Bold: best of the four structures, underlined: second; {missing}: not measured."
)


def write(folder: Path) -> Table:
    """Write table.{md,tex,csv}, decision_regions, loss_curves, each .{png,svg,pdf}, beside folder/measurements.json;
    return the table."""
    records = measurements.read(folder / "measurements.json")
    table = similarity_table(records)
    write_table(table, folder, "table")
    draw_regions(records, folder / "decision_regions", TITLES, records["settings"]["arms"])
    draw_losses(records, folder / "loss_curves")
    return table


def similarity_table(records: dict) -> Table:
    """Methods and references, setting after setting, against accuracy, loss and CKA with the dense network."""
    cells = pd.DataFrame(records["similarities"]).groupby(["setting", "method"], sort=False)
    found = cells[list(MEASURES)].agg(["mean", "std"])
    found.columns = ["_".join(names) for names in found.columns]
    data = summary_frame(records).merge(found.reset_index(), on=["setting", "method"], how="outer", sort=False)
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
            texts += [_show(100 * row.accuracy, 100 * row.accuracy_std, 1), _show(row.loss, row.loss_std, 3)]
            texts += [_show(getattr(row, f"{name}_mean"), getattr(row, f"{name}_std"), 2) for name in MEASURES]
            label = look[row.Index]["label"] if row.Index in look else row.Index
            first = setting if row.Index == methods[0] else ""
            rows.append([Cell(text, mark if place == 3 else "") for place, text in enumerate([first, label, *texts])])
    titles = ("Setting", "Hidden matrix", "Trained", "Accuracy", "Loss", *MEASURES.values())
    return Table([Column(title) for title in titles], rows, _caption(records["settings"]), data)


def _show(mean: float, std: float, digits: int) -> str:
    return MISSING if pd.isna(mean) else f"{mean:.{digits}f} ± {std:.{digits}f}"


def _caption(settings: dict) -> str:
    counts = {"seeds": len(settings["seeds"]), "tuning": len(settings["tuning_seeds"])}
    rates = ", ".join(f"{rate:g}" for rate in settings["rates"])
    return CAPTION.format(**settings | counts | {"rates": rates}, missing=MISSING)

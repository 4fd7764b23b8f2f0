"""Tables and figures of an experiment, from its records only: torch is not imported."""

from pathlib import Path

import pandas as pd

from surm_bench.config.positive_class import shown_metric
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.jobs import trial_jobs
from surm_bench.experiment.search import Trial
from surm_bench.experiment.tuning_caption import tuning_note
from surm_bench.report.ablation import ablation_table, adapters_table
from surm_bench.report.ablation_figure import ablation_figure
from surm_bench.report.best_epoch import best_epoch_note, kept_note, show_best_epoch
from surm_bench.report.changes import changes_table
from surm_bench.report.console import print_table
from surm_bench.report.expected_validation import expected_validation
from surm_bench.report.figures import accuracy_against_fraction, learning_curves
from surm_bench.report.frames import curves_frame, listed, runs_frame, summary_frame
from surm_bench.report.pareto import accuracy_against_parameters
from surm_bench.report.provenance import provenance
from surm_bench.report.published import load_published
from surm_bench.report.rates import rate_curves
from surm_bench.report.tables import Table, comparison_table, write_table
from surm_bench.system.atomic import atomic


def write_tables(evidence: Evidence) -> None:
    """Write the comparison (Markdown, LaTeX, CSV), the list of its runs and the scores of tuning; print the comparison.

    The comparison has all rows and columns of the experiment, also those without runs. Without any record of a
    reported run, only the scores of tuning are written.
    """
    folder, table = evidence.folder, comparison(evidence)
    frames = {"runs.csv": listed(evidence.frame), "tuning.csv": evidence.tuned.scores}
    written = [_write_frame(frame, folder / name) for name, frame in frames.items() if len(frame)]
    if table is None:
        name = evidence.experiment.name
        print(f"{name}: no reported run in {folder}; surm-bench experiment {name} makes them")
    else:
        written = write_table(table, folder, "table") + written
        print_table(table)
    if changes := changes_table(evidence.results, list(evidence.layout.families)):
        written += write_table(changes, folder, "changes")
    if written:
        _print_written(folder, written)


def _write_frame(frame: pd.DataFrame, path: Path) -> Path:
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False)
    return path


def comparison(evidence: Evidence) -> Table | None:
    """Return the table of an experiment; None without any record."""
    if not evidence.experiment.seeds:
        return _ablation(evidence)
    if evidence.frame.empty:
        return None
    return comparison_table(
        summary_frame(show_best_epoch(evidence.frame, evidence.best_epoch)),
        order=list(evidence.layout.families),
        columns=evidence.layout.columns,
        protocol=protocol(evidence),
        seeds=len(evidence.experiment.seeds),
        published=load_published(evidence.folder.parent / "paper.yaml"),
    )


def protocol(evidence: Evidence) -> str:
    """Return sentences about the epoch shown, the rule that chose the settings, and the origin of the runs."""
    notes = best_epoch_note(evidence.frame, evidence.best_epoch), kept_note(evidence.results)
    parts = *notes, tuning_note(evidence.experiment, evidence.tuned), provenance(evidence.results)
    return " ".join(filter(None, parts))


def _ablation(evidence: Evidence) -> Table | None:
    """Return the table of an experiment that only tunes: a few adapters on protocol variants, or many adapters."""
    experiment, state = evidence.experiment, evidence.tuned
    if state.scores.empty:
        return None
    parts = tuning_note(experiment, state), provenance(evidence.runs.results(state.jobs))
    about = (
        list(experiment.tasks),
        list(evidence.layout.families),
        experiment.tuning.seeds,
        " ".join(filter(None, parts)),
    )
    if _many_adapters(evidence):
        return adapters_table(_tuned_frame(evidence), *about)
    return ablation_table(evidence.scores, *about)


def _many_adapters(evidence: Evidence) -> bool:
    return len(evidence.experiment.adapters) > len(evidence.experiment.tasks)


def _tuned_frame(evidence: Evidence) -> pd.DataFrame:
    """Return a row for each task and adapter at its chosen setting, with its score in tuning.

    The columns are those of summary_frame, except that the task has its name in the experiment's file.
    """
    rows, scores = [], evidence.scores
    chosen = scores[scores["chosen"]].groupby(["task", "adapter", "label"], sort=False)["score"]
    for (task, adapter, label), found in chosen.agg(["mean", "std"]).iterrows():
        trial = Trial(evidence.tuned.choices[task, adapter])
        record = evidence.runs.results(trial_jobs(evidence.experiment, task, adapter, trial))[0]
        row = {"model": record.config.model.name, "task": task, "setting": "", "split": ""}
        row |= {"label": label, "metric": shown_metric(record.config.task)}
        rows.append(row | {"adapter_parameters": record.parameters.adapter, **found})
    columns = ["model", "task", "setting", "split", "label", "metric", "adapter_parameters", "mean", "std"]
    return pd.DataFrame(rows, columns=columns)


def write_figures(evidence: Evidence) -> None:
    """Draw the figures that the records allow.

    The figures are: the expected best score of tuning by the number of settings, score against parameters, learning
    curves and, if fractions of the training rows were run, score against fraction. For an experiment without reported
    seeds, the figures show the worth of each choice, or the tuning score against parameters.
    """
    if not evidence.experiment.seeds:
        _draw_ablation(evidence)
        return
    folder, looks = evidence.folder, evidence.layout.looks
    written = expected_validation(evidence.scores, looks, folder / "expected_validation.png")
    summary = summary_frame(show_best_epoch(runs_frame(evidence.results), evidence.best_epoch))
    if not summary["mean"].notna().any():
        print(f"{evidence.experiment.name}: no finished run to draw")
        return
    tasks = list(dict.fromkeys(summary["task"]))
    written += accuracy_against_parameters(summary, looks, folder / "accuracy_against_parameters.png", tasks)
    written += learning_curves(curves_frame(evidence.results), looks, folder / "learning_curves.png", tasks)
    if summary.groupby(["model", "task"])["fraction"].nunique().max() > 1:
        written += accuracy_against_fraction(summary, looks, folder / "accuracy_against_fraction.png", tasks)
    _print_written(folder, written)


def _draw_ablation(evidence: Evidence) -> None:
    folder, looks, tasks = evidence.folder, evidence.layout.looks, list(evidence.experiment.tasks)
    if written := rate_curves(evidence.scores, looks, folder / "rates.png"):
        _print_written(folder, written)
    if not evidence.tuned.choices:
        print(f"{evidence.experiment.name}: no setting chosen yet, nothing to draw")
    elif _many_adapters(evidence):
        path = folder / "accuracy_against_parameters.png"
        _print_written(folder, accuracy_against_parameters(_tuned_frame(evidence), looks, path, tasks))
    else:
        _print_written(folder, ablation_figure(evidence.scores, tasks, looks, folder / "choices.png"))


def _print_written(folder: Path, written: list[Path]) -> None:
    print(f"\nWritten to {folder}: {', '.join(path.name for path in written if path.suffix not in ('.svg', '.pdf'))}")

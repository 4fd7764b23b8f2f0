"""Tables and figures of an experiment, from its records only: torch is not imported."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from surm_bench.config.positive_class import shown_metric
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import Job, reported_jobs, resolved, trial_jobs
from surm_bench.experiment.layout import layout
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.search import Trial
from surm_bench.experiment.tuning import Tuned
from surm_bench.experiment.tuning_caption import tuning_note
from surm_bench.records import Record
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


def write_tables(experiment: Experiment, state: Tuned, runs: Runs, folder: Path) -> None:
    """Write the comparison (Markdown, LaTeX, CSV), the list of its runs and the scores of tuning; print the comparison.

    The comparison has all rows and columns of the experiment, also those without runs. Without any record of a
    reported run, only the scores of tuning are written.
    """
    table = comparison(experiment, state, runs, folder)
    jobs = reported_jobs(experiment, state.choices)
    results = runs.results(jobs)
    frames = {"runs.csv": listed(runs_frame(results + runs.failures(jobs))), "tuning.csv": state.scores}
    written = [_write_frame(frame, folder / name) for name, frame in frames.items() if len(frame)]
    if table is None:
        print(f"{experiment.name}: no reported run in {folder}; surm-bench experiment {experiment.name} makes them")
    else:
        written = write_table(table, folder, "table") + written
        print_table(table)
    if changes := changes_table(results, list(layout(experiment, state).families)):
        written += write_table(changes, folder, "changes")
    if written:
        _print_written(folder, written)


def _write_frame(frame: pd.DataFrame, path: Path) -> Path:
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False)
    return path


def comparison(experiment: Experiment, state: Tuned, runs: Runs, folder: Path) -> Table | None:
    """Return the table of an experiment; None without any record."""
    if not experiment.seeds:
        return _ablation(experiment, state, runs)
    jobs = reported_jobs(experiment, state.choices)
    results = runs.results(jobs)
    frame = runs_frame(results + runs.failures(jobs))
    if frame.empty:
        return None
    best = labels_of_best_epoch(experiment, jobs)
    laid_out = layout(experiment, state)
    return comparison_table(
        summary_frame(show_best_epoch(frame, best)),
        order=list(laid_out.families),
        columns=laid_out.columns,
        protocol=protocol(experiment, state, frame, results, best),
        seeds=len(experiment.seeds),
        published=load_published(folder.parent / "paper.yaml"),
    )


def protocol(
    experiment: Experiment, state: Tuned, frame: pd.DataFrame, results: Sequence[Record], best_epoch: Sequence[str]
) -> str:
    """Return sentences about the epoch shown, the rule that chose the settings, and the origin of the runs."""
    notes = best_epoch_note(frame, best_epoch), kept_note(results)
    parts = *notes, tuning_note(experiment, state), provenance(results)
    return " ".join(filter(None, parts))


def _ablation(experiment: Experiment, state: Tuned, runs: Runs) -> Table | None:
    """Return the table of an experiment that only tunes: a few adapters on protocol variants, or many adapters."""
    if state.scores.empty:
        return None
    note = " ".join(filter(None, [tuning_note(experiment, state), provenance(runs.results(state.jobs))]))
    tasks, seeds = list(experiment.tasks), experiment.tuning.seeds
    laid_out = layout(experiment, state)
    labels = list(laid_out.families)
    if _many_adapters(experiment):
        return adapters_table(_tuned_frame(experiment, state, runs), tasks, labels, seeds, note)
    return ablation_table(laid_out.named(state.scores), tasks, labels, seeds, note)


def _many_adapters(experiment: Experiment) -> bool:
    return len(experiment.adapters) > len(experiment.tasks)


def _tuned_frame(experiment: Experiment, state: Tuned, runs: Runs) -> pd.DataFrame:
    """Return a row for each task and adapter at its chosen setting, with its score in tuning.

    The columns are those of summary_frame, except that the task has its name in the experiment's file.
    """
    rows, scores = [], layout(experiment, state).named(state.scores)
    chosen = scores[scores["chosen"]].groupby(["task", "adapter", "label"], sort=False)["score"]
    for (task, adapter, label), found in chosen.agg(["mean", "std"]).iterrows():
        record = runs.results(trial_jobs(experiment, task, adapter, Trial(state.choices[task, adapter])))[0]
        row = {"model": record.config.model.name, "task": task, "setting": "", "split": ""}
        row |= {"label": label, "metric": shown_metric(record.config.task)}
        rows.append(row | {"adapter_parameters": record.parameters.adapter, **found})
    columns = ["model", "task", "setting", "split", "label", "metric", "adapter_parameters", "mean", "std"]
    return pd.DataFrame(rows, columns=columns)


def write_figures(experiment: Experiment, state: Tuned, runs: Runs, folder: Path) -> None:
    """Draw the figures that the records allow.

    The figures are: the expected best score of tuning by the number of settings, score against parameters, learning
    curves and, if fractions of the training rows were run, score against fraction. For an experiment without reported
    seeds, the figures show the worth of each choice, or the tuning score against parameters.
    """
    if not experiment.seeds:
        _draw_ablation(experiment, state, runs, folder)
        return
    written, laid_out = [], layout(experiment, state)
    looks = laid_out.looks
    written += expected_validation(laid_out.named(state.scores), looks, folder / "expected_validation.png")
    jobs = reported_jobs(experiment, state.choices)
    records = runs.results(jobs)
    summary = summary_frame(show_best_epoch(runs_frame(records), labels_of_best_epoch(experiment, jobs)))
    if not summary["mean"].notna().any():
        print(f"{experiment.name}: no finished run to draw")
        return
    tasks = list(dict.fromkeys(summary["task"]))
    written += accuracy_against_parameters(summary, looks, folder / "accuracy_against_parameters.png", tasks)
    written += learning_curves(curves_frame(records), looks, folder / "learning_curves.png", tasks)
    if summary.groupby(["model", "task"])["fraction"].nunique().max() > 1:
        written += accuracy_against_fraction(summary, looks, folder / "accuracy_against_fraction.png", tasks)
    _print_written(folder, written)


def _draw_ablation(experiment: Experiment, state: Tuned, runs: Runs, folder: Path) -> None:
    laid_out, tasks = layout(experiment, state), list(experiment.tasks)
    if written := rate_curves(laid_out.named(state.scores), laid_out.looks, folder / "rates.png"):
        _print_written(folder, written)
    if not state.choices:
        print(f"{experiment.name}: no setting chosen yet, nothing to draw")
    elif _many_adapters(experiment):
        frame, path = _tuned_frame(experiment, state, runs), folder / "accuracy_against_parameters.png"
        _print_written(folder, accuracy_against_parameters(frame, laid_out.looks, path, tasks))
    else:
        scores = laid_out.named(state.scores)
        _print_written(folder, ablation_figure(scores, tasks, laid_out.looks, folder / "choices.png"))


def labels_of_best_epoch(experiment: Experiment, jobs: Sequence[Job]) -> list[str]:
    """Return the labels of the rows that show the score of the best epoch."""
    named = [job for job in jobs if job.adapter in experiment.best_epoch]
    return list(dict.fromkeys(resolved(job).adapter.label for job in named))


def _print_written(folder: Path, written: list[Path]) -> None:
    print(f"\nWritten to {folder}: {', '.join(path.name for path in written if path.suffix not in ('.svg', '.pdf'))}")

"""Repeat runs, and compare the new scores with the recorded scores."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from surm_bench.config.code_digests import source_digest
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.jobs import Job
from surm_bench.experiment.matching import Runs
from surm_bench.records import Archive, Record, agreement, run_folder


class Repetition(NamedTuple):
    """The recorded and the repeated score of one run; a score is None if the run diverged."""

    run: str
    recorded: float | None
    repeated: float | None
    verdict: str
    agrees: bool


def reproduced(
    evidence: Evidence, folder: Path, repeat: Callable[[list[Job]], list[str]], sample: int | None
) -> list[str]:
    """Repeat all reported runs with a result or a random sample of them, and print the comparison.

    Returns:
        A line for each run that does not agree with its record.

    Args:
        folder: where ``repeat`` writes its records. Runs made there by other code do not count, and are removed.
    """
    runs = evidence.runs
    jobs = [job for job in evidence.reported if runs.result(job) is not None]
    drawn = jobs if sample is None or sample >= len(jobs) else random.sample(jobs, sample)
    _remove_other_code(folder)
    problems = repeat(drawn)
    again = Runs(folder)
    of_seeds = _scores_of_seeds(jobs, runs)
    pairs = [(job, runs.result(job), again.archive.record(runs.id(job))) for job in drawn]
    compared = [compare(job, recorded, new, of_seeds[_group(job)]) for job, recorded, new in pairs if new is not None]
    rows = pd.DataFrame(compared, columns=Repetition._fields)
    if compared:
        shown = rows.drop(columns="agrees") if sample is not None else _cells(rows, drawn)
        print(shown.to_string(index=False, float_format="{:.4f}".format))
    agreeing = int(rows["agrees"].sum())
    print(f"{agreeing} of {len(drawn)} repeated runs agree with their records")
    problems += [f"{row.run}: {row.verdict}" for row in compared if not row.agrees]
    return problems + [f"{job.title} was not repeated" for job, _, new in pairs if new is None]


def compare(job: Job, recorded: Record, repeated: Record, of_seeds: list[float]) -> Repetition:
    """Judge one repeated run: scores must be equal if equal bits are expected, else within the tolerance."""
    one, other = recorded.score, repeated.score
    agrees = agreement.agree(recorded, repeated, of_seeds)
    if recorded.status != "success" or repeated.status != "success":
        verdict = f"{recorded.status}, again {repeated.status}"
    elif one == other:
        verdict = "equal"
    elif agreement.same_machine(recorded, repeated):
        verdict = f"differs by {abs(one - other):.4f}, although the kind of machine, versions and code are the same"
    else:
        limit = agreement.tolerance(recorded, of_seeds)
        verdict = f"differs by {abs(one - other):.4f}, {'within' if agrees else 'beyond'} {limit:.4f}"
    return Repetition(job.title, one, other, verdict, agrees)


def _cells(rows: pd.DataFrame, jobs: list[Job]) -> pd.DataFrame:
    """Return the comparison for each cell of the table: means over seeds, and how many runs are equal or agree."""
    where = {job.title: (job.task, job.adapter) for job in jobs}
    named = rows.assign(
        task=[where[run][0] for run in rows["run"]],
        adapter=[where[run][1] for run in rows["run"]],
        equal=rows["verdict"] == "equal",
    )
    cells = named.groupby(["task", "adapter"], sort=False).agg(
        recorded=("recorded", "mean"),
        repeated=("repeated", "mean"),
        runs=("run", "size"),
        equal=("equal", "sum"),
        agree=("agrees", "sum"),
    )
    return cells.reset_index()


def _remove_other_code(folder: Path) -> None:
    """Remove the runs that were repeated with other source code than the current code."""
    for record in Archive(folder).records():
        if record.code.sources != source_digest():
            shutil.rmtree(run_folder(folder, record.run_id), ignore_errors=True)


def _scores_of_seeds(jobs: list[Job], runs: Runs) -> dict[tuple, list[float]]:
    scores: dict[tuple, list[float]] = {}
    for job in jobs:
        value = runs.result(job).score
        scores.setdefault(_group(job), []).extend([] if value is None else [value])
    return scores


def _group(job: Job) -> tuple:
    return job.task, job.adapter, job.setting

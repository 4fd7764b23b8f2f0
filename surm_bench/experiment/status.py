"""Print the current state of an experiment: active runs, failures with their reasons, and the best scores so far."""

from collections.abc import Sequence
from statistics import fmean

from surm_bench.config.positive_class import shown_metric
from surm_bench.experiment.ahead import Left
from surm_bench.experiment.estimates import Estimates
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.jobs import Job
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.plan import counts, print_total
from surm_bench.records import Running, running


def print_status(evidence: Evidence, left: Left, estimates: Estimates) -> None:
    """Print the state of an experiment from the records, locks and saved states in its folder of results."""
    experiment, runs = evidence.experiment, evidence.runs
    jobs = [*evidence.tuned.jobs, *evidence.reported]
    active, failures = running(evidence.folder), runs.failures(jobs)
    ids = {runs.id(job): job for job in jobs} if active or failures else {}
    wanted = f"{counts(jobs, runs)} of {len(jobs)} runs wanted so far"
    print(f"{experiment.name}: {wanted}, {len(active)} running now")
    if left.reports:
        print(f"{experiment.name}: {len(left.reports)} reported runs wait for their setting")
    print_total(experiment, left, estimates)
    for run in active:
        print(f"running  {_progress(run, ids.get(run.run_id))}")
    for record in failures:
        reason = record.error or record.status
        print(f"{record.status:8} {ids[record.run_id].title}, run {record.run_id}: {reason}")
    for task in experiment.tasks:
        if best := _best([job for job in evidence.reported if job.task == task], runs):
            print(f"best     {task}: {best}")
        elif best := _best([job for job in evidence.tuned.jobs if job.task == task], runs):
            print(f"best     {task}: {best}, on rows held out for tuning")


def _progress(run: Running, job: Job | None) -> str:
    """Return a text such as
    ``lora on digits, seed 0, lr=0.001: process 12 on node7 since 2026-01-01 10:00:00 UTC; epoch 2, …``."""
    title = job.title if job else f"run {run.run_id} of another experiment or configuration"
    return f"{title}: process {run.pid} on {run.host} since {run.since}; {run.how_far}"


def _best(jobs: Sequence[Job], runs: Runs) -> str | None:
    """Describe the adapter and setting with the best mean score over the finished seeds; None without a score."""
    scores: dict[tuple, list[float]] = {}
    sign, metric = 1, ""
    for job in jobs:
        record = runs.result(job)
        value = None if record is None else record.score
        if record is not None and value is not None:
            scores.setdefault((job.adapter, job.overrides, job.setting), []).append(value)
            sign, metric = 1 if record.greater_is_better else -1, shown_metric(record.config.task)
    if not scores:
        return None
    best = max(scores, key=lambda key: sign * fmean(scores[key]))
    setting = "".join(f", {key.rpartition('.')[2]}={value:g}" for key, value in best[2])
    seeds = f"{len(scores[best])} seed{'s' * (len(scores[best]) != 1)}"
    return f"{best[0]}{setting}: {metric} {fmean(scores[best]):.4f} over {seeds}"

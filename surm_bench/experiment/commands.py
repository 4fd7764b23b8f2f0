"""The commands on an experiment. Each function returns a line for each problem, and an empty list on success."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from surm_bench import records
from surm_bench.config import TrackingConfig
from surm_bench.errors import UserError
from surm_bench.experiment.ahead import runs_left
from surm_bench.experiment.calibration import Calibration
from surm_bench.experiment.deadline import TIME_UP
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.estimates import Estimates
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.jobs import Job, in_blocks
from surm_bench.experiment.plan import print_ahead, print_plan, print_total
from surm_bench.experiment.running import run_jobs
from surm_bench.experiment.status import print_status
from surm_bench.experiment.tuning import undecided
from surm_bench.hub import downloads
from surm_bench.tracking.workspace import check_workspaces


@dataclass(frozen=True)
class Options:
    """Folders and ways to run; no option changes the result of a run."""

    folder: Path  # results of the experiment
    outputs: Path = Path("outputs")  # the folder for repeated runs, outside git
    launcher: str | None = None
    launcher_options: Sequence[str] = ()
    places: Sequence[str] = ()  # overrides that say where data and weights are: task.data_dir, model.weights
    tracking: str | None = None  # a file of configs/tracking: the tracker that receives a copy of each run
    rows: Sequence[str] = ()  # the adapters to tune and run; empty: all
    until: float | None = None  # the time at which to stop, in seconds since the epoch
    listed: bool = False
    calibrate: bool = False
    sample: int | None = None
    merge: Sequence[Path] = ()
    other: Path = Path()  # the records of another machine, to be compared
    project: str = "surm-bench"  # the project on W&B
    entity: str | None = None

    @property
    def local(self) -> tuple[str, ...]:
        """The overrides of every run on this machine, which change no result."""
        return (*self.places, *([f"tracking={self.tracking}"] if self.tracking else []))


def run(experiment: Experiment, options: Options) -> list[str]:
    """Make the missing runs of the tuned settings and write tables and figures; returns problems.

    With tracking=wandb the call that makes the last run of the experiment also makes its dashboard.
    """
    before = _evidence(experiment, options)
    makes_dashboard = options.tracking == "wandb" and before.waiting and not undecided(experiment, before.tuned)
    if makes_dashboard:
        check_workspaces()
    problems = run_reported(experiment, options)
    evidence = _evidence(experiment, options)
    left = [job for job in evidence.waiting if job.adapter in options.rows or not options.rows]
    if left and not problems:
        problems = [f"other processes make the last {len(left)} runs: give the same command again when they are done"]
    if problems and not evidence.results:
        return problems + evidence.runs.problems  # there is nothing to show yet
    _write_results(evidence)
    if makes_dashboard and not evidence.waiting:
        try:
            _show(evidence, options)
        except UserError as error:  # the runs are made: a tracker fails none
            print(f"{error}; to try again: surm-bench dashboard {experiment.name}", file=sys.stderr)
    return problems + evidence.runs.problems


def run_reported(experiment: Experiment, options: Options) -> list[str]:
    """Make the missing runs of the tuned settings; returns problems."""
    evidence = _evidence(experiment, options, options.rows)
    problems = [*evidence.tuned.problems.values(), *undecided(evidence.experiment, evidence.tuned)]
    return problems + _execute(in_blocks(evidence.experiment, evidence.reported), experiment.name, options)


def tune(experiment: Experiment, options: Options) -> list[str]:
    """Run the trials of the search until every setting is chosen; returns one line for each problem.

    A stopped search continues when it is started again. A run that fails is not tried again in the same call; the
    other runs go on. A setting that diverged on a seed cannot be chosen.
    """
    problems, before, tried = [], [], set()
    while True:
        evidence = _evidence(experiment, options, options.rows)
        state, runs = evidence.tuned, evidence.runs
        waiting = [job for job in runs.waiting(state.jobs) if not (job in tried and runs.record(job))]
        if not waiting:
            # If nothing failed: rows whose number of settings depends on rows that are left out here.
            problems = problems or undecided(evidence.experiment, state)
            break
        if TIME_UP in problems:
            break
        if waiting == before:
            problems = problems or [f"other processes make the last {len(waiting)} runs: tune again when they are done"]
            break
        before = list(waiting)
        tried.update(waiting)
        waiting.sort(key=lambda job: experiment.tuning.seeds.index(job.seed))  # if stopped early, pairs are complete
        problems += _execute(waiting, f"tuning {experiment.name}", options)
    chosen = state.scores[state.scores["chosen"]].groupby(["task", "adapter", "setting"], sort=False)["score"].mean()
    if len(chosen):
        print(chosen.reset_index().to_string(index=False))
    return problems + runs.problems + list(state.problems.values())


def plan(experiment: Experiment, options: Options) -> list[str]:
    """Print the progress of tuning and of reported runs, the remaining runs, and the estimated time of each part.

    Returns:
        A line for each reason why runs could not be timed.
    """
    with downloads(allowed=options.calibrate):
        return _plan(experiment, options)


def _plan(experiment: Experiment, options: Options) -> list[str]:
    evidence = _evidence(experiment, options, options.rows)
    wanted, left = evidence.experiment, runs_left(evidence)
    problems = []
    if options.calibrate:
        from surm_bench.experiment.calibrate import calibrate  # imports torch, which a plan does not need

        problems = calibrate(experiment, [*left.sure, *left.growth], options.folder, options.places)
    estimates = _estimates(experiment, evidence)
    for title, jobs in (("tuning", evidence.tuned.jobs), ("reported", evidence.reported)):
        if jobs:
            print_plan(f"{wanted.name}, {title}", jobs, evidence.runs, estimates, options.listed)
    print_ahead(wanted, left, estimates)
    print_total(wanted, left, estimates)
    for problem in dict.fromkeys([*evidence.runs.problems, *evidence.tuned.problems.values()]):
        print(problem, file=sys.stderr)  # printed only, because the plan itself has not failed
    return problems


@downloads(allowed=False)
def status(experiment: Experiment, options: Options) -> list[str]:
    """Print the done, running, failed and missing runs, and the best scores so far; returns problems."""
    evidence = _evidence(experiment, options)
    print_status(evidence, runs_left(evidence), _estimates(experiment, evidence))
    return evidence.runs.problems


def collect(experiment: Experiment, options: Options) -> list[str]:
    """Write the results to records.jsonl; returns problems."""
    count, problems = records.collect(options.folder, options.merge)
    print(f"{experiment.name}: {count} records in {options.folder / records.COLLECTED}")
    return problems


@downloads(allowed=False)
def tables(experiment: Experiment, options: Options) -> list[str]:
    """Write the table from records; returns problems."""
    from surm_bench.experiment.reporting import write_tables  # imports scipy and matplotlib, so only when needed

    evidence = _evidence(experiment, options)
    write_tables(evidence)
    return evidence.runs.problems


@downloads(allowed=False)
def figures(experiment: Experiment, options: Options) -> list[str]:
    """Write the figures from records; returns problems."""
    from surm_bench.experiment.reporting import write_figures  # imports scipy and matplotlib, so only when needed

    evidence = _evidence(experiment, options)
    write_figures(evidence)
    return evidence.runs.problems


@downloads(allowed=False)
def dashboard(experiment: Experiment, options: Options) -> list[str]:
    """Write tables and figures, send them to W&B and save a workspace there."""
    check_workspaces()
    evidence = _evidence(experiment, options)
    _write_results(evidence)
    _show(evidence, options)
    return evidence.runs.problems


def reproduce(experiment: Experiment, options: Options) -> list[str]:
    """Repeat reported runs below options.outputs and compare the scores; returns a line for each disagreement.

    Raises:
        UserError: the runs would be repeated in the folder of the results.
    """
    evidence = _evidence(experiment, options)
    if not evidence.results:
        nothing = f"{experiment.name} has no result to repeat in {options.folder}"
        return [f"{nothing}: run it first, or name another folder with --results", *evidence.problems]
    repeated = replace(options, folder=options.outputs / experiment.name)
    if repeated.folder.resolve() == options.folder.resolve():
        raise UserError(f"{options.folder} holds the results to compare with: name another folder with --outputs")

    def repeat(jobs: list[Job]) -> list[str]:
        return _execute(jobs, f"repeating {experiment.name}", repeated)

    from surm_bench.experiment.reproduction import reproduced  # imports pandas, so only when needed

    problems = reproduced(evidence, repeated.folder, repeat, options.sample)
    if options.sample is None:
        _write_results(evidence.with_runs_of(repeated.folder))
    return problems


@downloads(allowed=False)
def compare(experiment: Experiment, options: Options) -> list[str]:
    """Write and print a table that compares the scores of the runs made on both machines; returns problems.

    Raises:
        UserError: the other machine's folder does not exist, or no run was made on both machines.
    """
    from surm_bench.experiment.second_machine import second_machine  # imports pandas, so only when needed
    from surm_bench.report.console import print_table
    from surm_bench.report.tables import write_table

    if not options.other.is_dir():
        raise UserError(f"{options.other} is not a folder: name the other machine's results of {experiment.name}")
    evidence, others = _evidence(experiment, options), _evidence(experiment, replace(options, folder=options.other))
    table = second_machine(evidence, others)
    write_table(table, options.folder, "second_machine")
    print_table(table)
    return [*evidence.runs.problems, *others.runs.problems]


def verify(experiment: Experiment, options: Options) -> list[str]:
    """Read every record and file again and check its digests; returns a line for each mismatch."""
    from surm_bench.experiment.verification import verified

    return verified(experiment, options.folder, options.places)


def _evidence(experiment: Experiment, options: Options, rows: Sequence[str] = ()) -> Evidence:
    return Evidence(experiment, options.folder, options.places, rows)


def _estimates(experiment: Experiment, evidence: Evidence) -> Estimates:
    """Return time estimates for the rows of ``evidence``, with the calibration of all rows of the experiment."""
    calibration = Calibration(experiment, evidence.folder, evidence.places)
    for problem in calibration.problems:
        print(problem, file=sys.stderr)
    return Estimates([*evidence.tuned.jobs, *evidence.reported], evidence.runs, calibration)


def _show(evidence: Evidence, options: Options) -> None:
    """Make the dashboard on W&B and print where it is."""
    from surm_bench.experiment.dashboard import make_dashboard  # imports wandb

    tracking = TrackingConfig("wandb", options.project, options.entity)
    for line in make_dashboard(evidence, options.outputs, tracking):
        print(line)


def _write_results(evidence: Evidence) -> None:
    """Write the tables and figures of an experiment."""
    from surm_bench.experiment.reporting import write_figures, write_tables  # so only when needed

    write_tables(evidence)
    write_figures(evidence)


def _execute(jobs: list[Job], title: str, options: Options) -> list[str]:
    how = (options.local, options.until, options.launcher, options.launcher_options)
    return run_jobs(jobs, options.folder, title, *how)

"""The command line of experiments.

python scripts/experiment.py tune demo       choose the settings of every adapter
python scripts/experiment.py run demo        run what is missing, then write tables and figures
python scripts/experiment.py plan demo       what is done, missing and failed, and the time left (--calibrate)
python scripts/experiment.py collect demo    write the results to records.jsonl, with those of other machines (--merge)
python scripts/experiment.py reproduce demo  repeat runs drawn at random elsewhere (--sample 5, or --all), and compare
python scripts/experiment.py verify demo     check every record, and the files beside it, against its digests
python scripts/experiment.py tables          of every experiment, or of those named, from records alone
python scripts/experiment.py figures         likewise
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from surm_bench import cli, records
from surm_bench.errors import UserError
from surm_bench.experiment.calibration import read_calibration
from surm_bench.experiment.definition import Experiment, experiment_names, load_experiment
from surm_bench.experiment.jobs import Job, composable, composer, reported_jobs
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.plan import Prices, print_ahead, print_plan
from surm_bench.experiment.reporting import write_figures, write_tables
from surm_bench.experiment.reproduction import reproduced
from surm_bench.experiment.running import launch_jobs, run_jobs
from surm_bench.experiment.tuning import Tuned, tuned, undecided
from surm_bench.experiment.verification import verified


@dataclass(frozen=True)
class Options:
    """Where things are and how to run; none of it changes a run."""

    folder: Path  # results of the experiment
    outputs: Path = Path("outputs")  # where runs are repeated, outside git
    launcher: str | None = None
    launcher_options: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    listed: bool = False
    calibrate: bool = False
    sample: int | None = None
    merge: tuple[Path, ...] = ()


def main() -> None:
    """Exit code 1 when a run failed or a part had to be left out, 2 on bad input."""
    arguments = _parse()
    code = 0
    for name in arguments.names or experiment_names():
        try:
            experiment, problems = load_experiment(name)
            problems += composable(experiment)
            problems += COMMANDS[arguments.command](experiment, _options(arguments, name))
            code = max(code, 1 if problems else 0)
        except UserError as error:
            problems, code = [str(error)], 2
        except KeyboardInterrupt as error:
            print(f"surm-bench: interrupted{cli.stopped_by(error)}; the same command goes on", file=sys.stderr)
            sys.exit(128 + getattr(error, "signal_number", 2))
        for problem in dict.fromkeys(problems):
            print(f"surm-bench: {problem}".replace("\n", " "), file=sys.stderr)
    sys.exit(code)


def run(experiment: Experiment, options: Options) -> list[str]:
    """Run the tuned jobs that are missing and write tables and figures; returns problems, a line each."""
    state, _ = _state(experiment, options)
    jobs = reported_jobs(experiment, state.choices)
    problems = [*state.problems.values(), *undecided(experiment, state)]
    problems += _execute(jobs, experiment.name, options)
    return problems + tables(experiment, options) + figures(experiment, options)


def tune(experiment: Experiment, options: Options) -> list[str]:
    """Run what the search asks for until every setting is chosen; returns problems, a line each.

    Stopped and started again it goes on. A setting that diverged on a seed cannot be chosen.
    """
    problems, before = [], []
    while True:
        state, runs = _state(experiment, options)
        with composer():
            waiting = runs.waiting(state.jobs)
        if not waiting or problems:
            break
        if waiting == before:
            problems = [f"{len(waiting)} runs are left to other processes: tune again when they are done"]
            break
        before = list(waiting)
        waiting.sort(key=lambda job: experiment.tuning.seeds.index(job.seed))  # stopped early, pairs are whole
        problems = _execute(waiting, f"tuning {experiment.name}", options)
    chosen = state.scores[state.scores["chosen"]].groupby(["task", "adapter", "setting"], sort=False)["score"].mean()
    print(chosen.reset_index().to_string(index=False))
    return problems + runs.problems + list(state.problems.values())


def plan(experiment: Experiment, options: Options) -> list[str]:
    """Print how far tuning and reported runs are, and what is still ahead, with the time that each may take."""
    problems = []
    if options.calibrate:
        from surm_bench.experiment.calibrate import calibrate  # torch: not for a plan alone

        problems += calibrate(experiment, options.folder, options.places)
    calibration = None
    try:
        calibration = read_calibration(experiment, options.folder)
    except UserError as error:
        problems.append(str(error))
    state, runs = _state(experiment, options)
    with composer():
        reported = reported_jobs(experiment, state.choices)
        prices = Prices([*state.jobs, *reported], runs, calibration)
        for title, jobs in (("tuning", state.jobs), ("reported", reported)):
            if jobs:
                print_plan(f"{experiment.name}, {title}", jobs, runs, prices, options.listed)
        print_ahead(experiment, state, prices)
    if calibration is not None:
        print(calibration.about)
    for problem in dict.fromkeys([*problems, *runs.problems, *state.problems.values()]):
        print(f"surm-bench: {problem}", file=sys.stderr)  # a plan tells; it has not failed
    return []


def collect(experiment: Experiment, options: Options) -> list[str]:
    """Write the results to records.jsonl; returns problems, a line each."""
    count, problems = records.collect(options.folder, options.merge)
    print(f"{experiment.name}: {count} records in {options.folder / records.COLLECTED}")
    return problems


def tables(experiment: Experiment, options: Options) -> list[str]:
    """Write the table from records; returns problems, a line each."""
    state, runs = _state(experiment, options)
    with composer():
        write_tables(experiment, state, runs, options.folder)
    return runs.problems


def figures(experiment: Experiment, options: Options) -> list[str]:
    """Write the figures from records."""
    state, runs = _state(experiment, options)
    with composer():
        write_figures(experiment, state, runs, options.folder)
    return []


def reproduce(experiment: Experiment, options: Options) -> list[str]:
    """Repeat reported runs below options.outputs and compare; a line for each that does not agree."""
    state, runs = _state(experiment, options)
    with composer():
        done = [job for job in reported_jobs(experiment, state.choices) if runs.result(job) is not None]
    if not done:
        return [f"{experiment.name} has no result in {options.folder} to be repeated"]
    folder = options.outputs / experiment.name

    def repeat(jobs: list[Job]) -> list[str]:
        return run_jobs(jobs, folder, f"repeating {experiment.name}", options.places)

    problems = reproduced(done, runs, folder, repeat, options.sample)
    with composer():
        if options.sample is None:
            again = Runs(folder, options.places)
            write_tables(experiment, state, again, folder)
            write_figures(experiment, state, again, folder)
    return problems


def verify(experiment: Experiment, options: Options) -> list[str]:
    """Check every record and file against its digests, read anew; a line for each that does not fit."""
    return verified(experiment, options.folder, options.places)


COMMANDS = {f.__name__: f for f in (run, tune, plan, collect, reproduce, verify, tables, figures)}


def _state(experiment: Experiment, options: Options) -> tuple[Tuned, Runs]:
    with composer():
        runs = Runs(options.folder, options.places)
        return tuned(experiment, runs), runs


def _execute(jobs: list[Job], title: str, options: Options) -> list[str]:
    if options.launcher:
        return launch_jobs(jobs, options.folder, options.launcher, options.launcher_options, options.places)
    return run_jobs(jobs, options.folder, title, options.places)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument(
        "names", nargs="*", help="files of configs/experiment, as demo; tables and figures: default all"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="the folder of all experiments' results")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="reproduce: where runs are repeated")
    parser.add_argument(
        "--launcher", help="run and tune: a hydra/launcher, as joblib; default: one after the other here"
    )
    parser.add_argument("--launcher-option", action="append", default=[], help="as hydra.launcher.n_jobs=2")
    parser.add_argument("--data", help="local data, as task.data_dir")
    parser.add_argument("--weights", help="local weights, as model.weights (experiments of one model)")
    parser.add_argument("--tracking", help="run and tune: a choice of tracking, as wandb")
    parser.add_argument("--runs", action="store_true", help="plan: list every run")
    parser.add_argument("--calibrate", action="store_true", help="plan: time a few steps here, to tell the hours")
    parser.add_argument("--sample", type=int, default=5, help="reproduce: how many runs")
    parser.add_argument("--all", action="store_true", help="reproduce: every run, and the table")
    parser.add_argument(
        "--merge", type=Path, nargs="+", default=[], help="collect: results folders or records.jsonl of other machines"
    )
    arguments = parser.parse_args()
    if not arguments.names and arguments.command not in ("tables", "figures"):
        parser.error(f"name an experiment to {arguments.command}: {', '.join(experiment_names())}")
    if arguments.sample < 1:
        parser.error(f"--sample {arguments.sample} is not possible: at least 1")
    return arguments


def _options(arguments: argparse.Namespace, name: str) -> Options:
    keys = {"task.data_dir": arguments.data, "model.weights": arguments.weights, "tracking": arguments.tracking}
    return Options(
        arguments.results / name,
        arguments.outputs,
        arguments.launcher,
        tuple(arguments.launcher_option),
        tuple(f"{key}={value}" for key, value in keys.items() if value),
        arguments.runs,
        arguments.calibrate,
        None if arguments.all else arguments.sample,
        tuple(arguments.merge),
    )

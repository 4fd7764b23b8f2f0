"""Work through rows of experiments with several processes on one machine, until all are done or time is up.

    python scripts/rows.py FILE --processes 16 --seconds 240 --results results

Each line of FILE names an experiment, a row of it and, if not all, a task; it is tuned, then its reported runs are
made. A process takes the next line that nobody has. When time is up every process gets SIGTERM, saves the state of its
run and ends; the same command goes on there. Data and weights are given as ``--places EXPERIMENT:KEY=PLACE``, as
reproduction_text:task.data_dir=data/glue. Tables are not written: ``surm-bench tables`` does it.

Exit code: 0 when all lines are done, 1 when a run failed or time was up.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from surm_bench.command.errors import exit_code
from surm_bench.composition import add_config_dir
from surm_bench.errors import UserError, unknown
from surm_bench.experiment import commands
from surm_bench.experiment.definition import Experiment, load_experiment
from surm_bench.experiment.jobs import composable

GRACE = 15  # seconds that a process has to save its state


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="of lines: experiment row [task]")
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="default: until all is done")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--config-dir", action="append", default=[], help="a folder of more adapters, experiments, …")
    parser.add_argument("--places", action="append", default=[], help="experiment:key=place")
    given = parser.parse_args(arguments)
    for folder in given.config_dir:
        add_config_dir(folder)
    lines = [line for line in given.file.read_text(encoding="utf-8").splitlines() if line.strip()]
    for line in lines:
        _row(line)  # refused before anything starts
    context = multiprocessing.get_context("spawn")  # CUDA cannot be forked
    turn = context.Value("i", 0)
    work = (lines, turn, given.results, given.places, given.config_dir)
    processes = [context.Process(target=_work, args=work) for _ in range(min(given.processes, len(lines)))]
    for process in processes:
        process.start()
    end = time.monotonic() + given.seconds
    while any(process.is_alive() for process in processes) and time.monotonic() < end:
        time.sleep(0.5)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(GRACE)
        process.kill()
    return 0 if turn.value >= len(lines) and all(process.exitcode == 0 for process in processes) else 1


def _work(lines: Sequence[str], turn, results: Path, places: Sequence[str], config_dir: Sequence[str]) -> None:
    """Line after line that no other process has, until there is none; exits with 1 where a run failed."""
    for folder in config_dir:
        add_config_dir(folder)
    failed = False
    while True:
        with turn.get_lock():
            number, turn.value = turn.value, turn.value + 1
        if number >= len(lines):
            sys.exit(failed)
        experiment = _row(lines[number])
        own = tuple(place.partition(":")[2] for place in places if place.startswith(f"{experiment.name}:"))
        options = commands.Options(results / experiment.name, places=own)
        try:
            problems = commands.tune(experiment, options) + commands.report(experiment, options)
        except KeyboardInterrupt as stopped:
            print(f"{lines[number]}: {stopped}", flush=True)
            sys.exit(1)
        failed |= bool(problems)
        print(f"{lines[number]}: {'; '.join(problems) or 'done'}", flush=True)


def _row(line: str) -> Experiment:
    """The experiment of the row, and task, that a line names, alone."""
    match line.split(maxsplit=2):
        case [name, row]:
            task = None
        case [name, row, task]:
            pass
        case _:
            raise UserError(f"{line!r} is no line of experiment, row and perhaps task")
    experiment, problems = load_experiment(name)
    problems += composable(experiment)
    if problems:
        raise UserError(problems[0])
    if task is not None and task not in experiment.tasks:
        raise unknown(f"task of {name}", task, experiment.tasks)
    tasks = experiment.tasks if task is None else {task: experiment.tasks[task]}
    return replace(experiment.of_rows([row]), tasks=tasks)


if __name__ == "__main__":
    sys.exit(exit_code(main, sys.argv[1:]))

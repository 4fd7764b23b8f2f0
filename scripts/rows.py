"""Work through rows of experiments with several processes on one machine, until all are done or time is up.

    python scripts/rows.py FILE --processes 16 --seconds 240 --results results

Each line of FILE names an experiment, a row of it and, if not all, a task; it is tuned, then its reported runs are
made. A process takes the next line that nobody has. When time is up, or this process gets SIGTERM or SIGINT, each of
them gets SIGTERM, saves the state of its run after the step it is in, and ends; one that takes longer than GRACE for it
is killed. The same command goes on there. Data and weights are given as ``--places EXPERIMENT:KEY=PLACE``, as
reproduction_text:task.data_dir=data/glue. Tables are not written: ``surm-bench tables`` does it.

Exit code: 0 when all lines are done, 1 when a run failed or time was up, 2 on bad input, 128 and its number for a
signal.
"""

import argparse
import multiprocessing
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from surm_bench.command.errors import exit_code
from surm_bench.config.composition import add_config_dir
from surm_bench.errors import UserError, unknown
from surm_bench.experiment import Experiment, commands, load_experiment
from surm_bench.experiment.jobs import composable

GRACE = 15  # seconds that a process has to save its state; an evaluation is not interrupted


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="of lines: experiment row [task]")
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="default: until all is done")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--config-dir", action="append", default=[], help="a folder of more adapters, experiments, …")
    parser.add_argument("--places", action="append", default=[], help="experiment:key=place")
    given = parser.parse_args(arguments)
    if given.processes < 1:
        raise UserError(f"--processes {given.processes} is not possible: at least 1")
    for folder in given.config_dir:
        add_config_dir(folder)
    if not given.file.is_file():
        raise UserError(f"{given.file} is no file: it holds lines of experiment, row and perhaps task")
    given.lines = [line for line in given.file.read_text(encoding="utf-8").splitlines() if line.strip()]
    named = {_row(line).name for line in given.lines}  # what cannot be is refused before anything starts
    for place in given.places:
        if place.partition(":")[0] not in named:
            raise unknown("experiment of --places", place.partition(":")[0], named)
    return _in_processes(given)


def _in_processes(given: argparse.Namespace) -> int:
    context = multiprocessing.get_context("spawn")  # CUDA cannot be forked
    turn = context.Value("i", 0)
    count = min(given.processes, len(given.lines))
    processes = [context.Process(target=_process, args=(given, turn)) for _ in range(count)]
    signal.signal(signal.SIGTERM, _interrupted)
    end = time.monotonic() + given.seconds
    try:
        for process in processes:
            process.start()
        while any(process.is_alive() for process in processes) and time.monotonic() < end:
            time.sleep(0.2)
    finally:
        _end([process for process in processes if process.is_alive()])
    return 0 if turn.value >= len(given.lines) and all(process.exitcode == 0 for process in processes) else 1


def _interrupted(number: int, _: Any) -> None:
    interrupt = KeyboardInterrupt()
    interrupt.signal_number = number
    raise interrupt


def _end(processes: Sequence[Any]) -> None:
    for process in processes:
        process.terminate()
    end = time.monotonic() + GRACE
    for process in processes:
        process.join(max(0, end - time.monotonic()))
        process.kill()
        process.join()


def _process(given: argparse.Namespace, turn: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the first process sends SIGTERM, a second signal
    sys.exit(exit_code(lambda _: _work(given, turn), []))


def _work(given: argparse.Namespace, turn: Any) -> int:
    """Line after line that no other process has, until there is none; 1 where a run failed."""
    for folder in given.config_dir:
        add_config_dir(folder)
    failed = False
    while True:
        with turn.get_lock():
            number, turn.value = turn.value, turn.value + 1
        if number >= len(given.lines):
            return int(failed)
        experiment = _row(given.lines[number])
        places = [place.partition(":")[2] for place in given.places if place.startswith(f"{experiment.name}:")]
        options = commands.Options(given.results / experiment.name, places=tuple(places))
        problems = commands.tune(experiment, options) + commands.run_reported(experiment, options)
        failed |= bool(problems)
        print(f"{given.lines[number]}: {'; '.join(dict.fromkeys(problems)) or 'done'}", flush=True)


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

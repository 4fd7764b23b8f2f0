"""``surm-bench plan|tune|experiment|status|tables|figures|collect|merge|compare|…``: the commands on experiments."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from surm_bench.command import config_dirs
from surm_bench.command.errors import complain_of
from surm_bench.config.places import override_of
from surm_bench.errors import UserError
from surm_bench.system.storage import StorageError

WATCH = 10  # seconds


def path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty: name a folder or a file, such as . for the current folder")
    return Path(text)


def time_after(seconds: str) -> float:
    """Return the time this many seconds from now, in seconds since the epoch."""
    if not 0 < float(seconds) < float("inf"):
        raise argparse.ArgumentTypeError(f"{seconds} is not possible: give a number of seconds above 0")
    return time.time() + float(seconds)


def count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not possible: give at least 1")
    return int(text)


def row_names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def place(key: str) -> Callable[[str], str]:
    """Return a function from a path to the override that sets this key to the path."""
    return lambda text: override_of(key, path(text))


# Arguments of the commands, as argparse takes them. Each one sets the field of surm_bench.experiment.commands.Options
# that has its name or its dest.
LIST: dict = dict(action="append", default=[])
OPTIONS: dict[str, dict] = {
    "--results": dict(type=path, default=Path("results"), help="the folder of all experiments' results"),
    "merge": dict(metavar="from", nargs="+", type=Path, help="results folders or records.jsonl files"),
    "other": dict(metavar="folder", type=Path, help="the other machine's results of this experiment"),
    "--data": dict(
        **LIST, dest="places", metavar="DATA", type=place("task.data_dir"),
        help="folder of local data: sets task.data_dir",
    ),
    "--weights": dict(
        **LIST, dest="places", metavar="WEIGHTS", type=place("model.weights"),
        help="local weights: sets model.weights (for experiments with one model)",
    ),
    "--tracking": dict(help="an experiment tracker, such as wandb"),
    "--launcher": dict(help="joblib, submitit_slurm or submitit_local; default: one run at a time"),
    "--launcher-option": dict(
        **LIST, dest="launcher_options", metavar="OPTION", help="an option of the launcher, such as n_jobs=2"
    ),
    "--rows": dict(
        type=row_names, default=(),
        help="only these adapters, such as circulant,lora_r1; tables still show all adapters",
    ),
    "--seconds": dict(
        dest="until", metavar="SECONDS", type=time_after,
        help="stop after this time; the same command continues the runs",
    ),
    "--runs": dict(dest="listed", action="store_true", help="list every run"),
    "--calibrate": dict(action="store_true", help="make short runs on this machine to estimate the hours"),
    "--watch": dict(action="store_true", help=f"print again every {WATCH} seconds, until Ctrl-C"),
    "--project": dict(default="surm-bench", help="W&B project: tracking.project of the runs"),
    "--entity": dict(help="W&B team or user: tracking.entity of the runs; default: the owner of the API key"),
    "--outputs": dict(
        type=path, default=Path("outputs"), help="folder for repeated runs, or for the specification of the workspace"
    ),
    "--sample": dict(type=count, default=5, help="number of runs to repeat (default: 5)"),
    "--all": dict(dest="sample", action="store_const", const=None, help="repeat every run and write the table"),
    "--merge": dict(type=Path, nargs="+", default=[], help="results to merge, as in surm-bench merge"),
}  # fmt: skip
READING = ("--data", "--weights")  # of commands that may read data and weights
RUNNING = (*READING, "--tracking", "--launcher", "--launcher-option")  # of commands that make runs


class Command(NamedTuple):
    """A command on experiments.

    Attributes:
        about: one line of help.
        options: keys of OPTIONS, in addition to --results and --config-dir.
        experiments: how many experiments the command takes: 1, "+" or "*", which means all if none is named.
        function: the function of surm_bench.experiment.commands; None: the function with the command's name.
    """

    about: str
    options: tuple[str, ...] = ()
    experiments: int | str = "+"
    function: str | None = None


COMMANDS = {
    "plan": Command(
        "show which runs are done, missing and failed, and the time left", (*READING, "--rows", "--runs", "--calibrate")
    ),
    "tune": Command("choose the setting of every adapter on every task", (*RUNNING, "--rows", "--seconds")),
    "experiment": Command(
        "make the missing runs, then write tables and figures", (*RUNNING, "--rows", "--seconds"), function="run"
    ),
    "status": Command(
        "show which runs are done, running, failed and missing, the time left and the best scores so far",
        (*READING, "--watch"),
        experiments="*",
    ),
    "tables": Command("write the tables, from records alone", experiments="*"),
    "figures": Command("draw the figures, from records alone", experiments="*"),
    "dashboard": Command(
        "send tables and figures to Weights & Biases, and make a workspace for the runs there",
        ("--project", "--entity", "--outputs"),
    ),
    "collect": Command(
        "write the results to records.jsonl, from which tables and figures can be made elsewhere", ("--merge",)
    ),
    "merge": Command("collect, together with the results of other machines", ("merge",), 1, function="collect"),
    "compare": Command("check whether another machine got the same scores in the same runs", ("other", *READING), 1),
    "reproduce": Command(
        "repeat randomly drawn runs in another folder, and compare the scores",
        (*RUNNING, "--outputs", "--sample", "--all"),
    ),
    "verify": Command("check every record, and the files beside it, against its digests", READING),
}


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, command in COMMANDS.items():
        parser = commands.add_parser(name, help=command.about, description=command.about)
        parser.set_defaults(call=_watch if name == "status" else _run, command=name)
        about = "a file of configs/experiment" if command.experiments == 1 else "files of configs/experiment"
        about += ", such as demo" + ("; default: all" if command.experiments == "*" else "")
        parser.add_argument("names", metavar="experiment", nargs=command.experiments, help=about)
        for option in (*command.options, "--results"):
            parser.add_argument(option, **OPTIONS[option])
        config_dirs.add_option(parser)


def _watch(arguments: argparse.Namespace) -> int:
    """Print the status once, or with --watch again and again in a cleared terminal."""
    while arguments.watch:
        if sys.stdout.isatty():
            print("\033[2J\033[H", end="")
        if (code := _run(arguments)) == 2:  # bad input stays bad, so stop
            return code
        sys.stdout.flush()
        time.sleep(WATCH)
    return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    """Run the command on each named experiment and return the exit code.

    The code is 1 if a run failed or a part was left out, and 2 for bad input. The other experiments still run.

    Raises:
        StorageError: the disk of the results is full or gone.
    """
    from surm_bench.experiment import commands
    from surm_bench.experiment.files import experiment_files, load_experiment

    call = getattr(commands, COMMANDS[arguments.command].function or arguments.command)
    given = vars(arguments)
    options = {field.name: given[field.name] for field in fields(commands.Options) if field.name in given}
    code = 0
    for name in arguments.names or experiment_files():
        try:
            experiment, problems = load_experiment(name)
            problems += call(experiment, commands.Options(arguments.results / name, **options))
        except StorageError:  # the results of the other experiments are on the same disk
            raise
        except UserError as error:
            problems, code = [str(error)], 2
        code = max(code, complain_of(problems))
    return code

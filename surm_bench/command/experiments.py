"""``surm-bench plan|tune|experiment|status|tables|figures|collect|merge|compare|…``: the commands on experiments."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from surm_bench.command.errors import complain_of
from surm_bench.config.places import override_of
from surm_bench.errors import UserError
from surm_bench.system.storage import StorageError

ABOUT = {
    "plan": "show which runs are done, missing and failed, and the time left",
    "tune": "choose the setting of every adapter on every task",
    "experiment": "make the missing runs, then write tables and figures",
    "status": "show which runs are done, running, failed and missing, the time left and the best scores so far",
    "tables": "write the tables, from records alone",
    "figures": "draw the figures, from records alone",
    "dashboard": "send tables and figures to Weights & Biases, and make a workspace for the runs there",
    "collect": "write the results to records.jsonl, from which tables and figures can be made elsewhere",
    "merge": "collect, together with the results of other machines",
    "compare": "check whether another machine got the same scores in the same runs",
    "reproduce": "repeat randomly drawn runs in another folder, and compare the scores",
    "verify": "check every record, and the files beside it, against its digests",
}
OF_ONE = ("merge", "compare")
OF_ALL = ("status", "tables", "figures")  # commands for every experiment if none is named
READING = ("plan", "tune", "experiment", "status", "compare", "reproduce", "verify")  # may read data and weights
RUNNING = ("tune", "experiment", "reproduce")
WATCH = 10  # seconds


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, about in ABOUT.items():
        parser = commands.add_parser(name, help=about, description=about)
        parser.set_defaults(call=_watch if name == "status" else _run, command=name)
        _add_arguments(parser, name)


def _add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    if command in OF_ONE:
        parser.add_argument("names", metavar="experiment", nargs=1, help="a file of configs/experiment, such as demo")
    else:
        number, default = ("*", "; default: all") if command in OF_ALL else ("+", "")
        about = f"files of configs/experiment, such as demo{default}"
        parser.add_argument("names", metavar="experiment", nargs=number, help=about)
    if command == "merge":
        parser.add_argument(
            "merge", metavar="from", nargs="+", type=Path, help="results folders or records.jsonl files"
        )
    if command == "compare":
        parser.add_argument("other", metavar="folder", type=Path, help="the other machine's results of this experiment")
    parser.add_argument("--results", type=path, default=Path("results"), help="the folder of all experiments' results")
    parser.add_argument("--config-dir", action="append", default=[], help="a folder of more adapters, experiments, …")
    if command in READING:
        parser.add_argument("--data", type=path, help="folder of local data: sets task.data_dir")
        parser.add_argument(
            "--weights", type=path, help="local weights: sets model.weights (for experiments with one model)"
        )
    if command in RUNNING:
        parser.add_argument("--tracking", help="an experiment tracker, such as wandb")
        parser.add_argument("--launcher", help="joblib, submitit_slurm or submitit_local; default: one run at a time")
        about = "an option of the launcher, such as n_jobs=2"
        parser.add_argument("--launcher-option", action="append", default=[], help=about)
    if command in ("plan", "tune", "experiment"):
        about = "only these adapters, such as circulant,lora_r1; tables still show all adapters"
        parser.add_argument("--rows", default="", help=about)
    if command in ("tune", "experiment"):
        parser.add_argument(
            "--seconds", type=duration, help="stop after this time; the same command continues the runs"
        )
    if command == "plan":
        parser.add_argument("--runs", action="store_true", help="list every run")
        parser.add_argument(
            "--calibrate", action="store_true", help="time a few steps on this machine to estimate the hours"
        )
    if command == "status":
        parser.add_argument("--watch", action="store_true", help=f"print again every {WATCH} seconds, until Ctrl-C")
    if command == "dashboard":
        parser.add_argument("--project", default="surm-bench", help="W&B project: tracking.project of the runs")
        about = "W&B team or user: tracking.entity of the runs; default: the owner of the API key"
        parser.add_argument("--entity", help=about)
        about = "folder for the specification of the workspace"
        parser.add_argument("--outputs", type=path, default=Path("outputs"), help=about)
    if command == "reproduce":
        parser.add_argument("--outputs", type=path, default=Path("outputs"), help="folder for the repeated runs")
        parser.add_argument("--sample", type=count, default=5, help="number of runs to repeat (default: 5)")
        parser.add_argument("--all", action="store_true", help="repeat every run and write the table")
    if command == "collect":
        parser.add_argument(
            "--merge", type=Path, nargs="+", default=[], help="results to merge, as in surm-bench merge"
        )


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
    from surm_bench.config.composition import add_config_dir
    from surm_bench.experiment import commands
    from surm_bench.experiment.files import experiment_files, load_experiment
    from surm_bench.experiment.jobs import composable

    for folder in arguments.config_dir:
        add_config_dir(folder)
    call: Callable = getattr(
        commands, {"experiment": "run", "merge": "collect"}.get(arguments.command, arguments.command)
    )
    code = 0
    for name in arguments.names or experiment_files():
        try:
            experiment, problems = load_experiment(name)
            problems += composable(experiment)
            problems += call(experiment, commands.Options(arguments.results / name, **_options(arguments)))
        except StorageError:  # the results of the other experiments are on the same disk
            raise
        except UserError as error:
            problems, code = [str(error)], 2
        code = max(code, complain_of(problems))
    return code


def _options(arguments: argparse.Namespace) -> dict:
    """Return the given options, by their names in the library (fields of commands.Options)."""
    given = vars(arguments)
    places = {"task.data_dir": given.get("data"), "model.weights": given.get("weights")}
    tracking = [f"tracking={given['tracking']}"] if given.get("tracking") else []
    options = {
        "places": (*(override_of(key, path) for key, path in places.items() if path is not None), *tracking),
        "launcher_options": tuple(given.get("launcher_option", ())),
        "rows": tuple(filter(None, given.get("rows", "").split(","))),
        "merge": tuple(given.get("merge", ())),
        "sample": None if given.get("all") else given.get("sample"),
        "until": time.time() + given["seconds"] if given.get("seconds") else None,
        "listed": given.get("runs", False),
    }
    return options | {
        key: given[key] for key in ("outputs", "launcher", "calibrate", "other", "project", "entity") if key in given
    }


def path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty: name a folder or a file, such as . for the current folder")
    return Path(text)


def duration(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not possible: give a number of seconds above 0")
    return float(text)


def count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not possible: give at least 1")
    return int(text)

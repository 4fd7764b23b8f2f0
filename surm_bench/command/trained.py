"""``surm-bench evaluate``, ``predict`` and ``export``: use the model of a finished run."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from surm_bench.command import config_dirs
from surm_bench.errors import UserError
from surm_bench.system.atomic import atomic

if TYPE_CHECKING:
    import pandas as pd

    from surm_bench.config import Config
    from surm_bench.records import Record

ABOUT = {
    "evaluate": "score a finished run's model again, on its task or on another data set with the same number of labels",
    "predict": "write a finished run's predictions for texts or images, as CSV, JSON Lines or parquet",
    "export": "write a finished run's model for transformers or timm, or its adapter for PEFT, with a model card",
}
DIGITS = {"double_precision": 15}  # the largest number that pandas accepts; the default of pandas is 10
WRITERS: dict[str, Callable[["pd.DataFrame", Path], object]] = {  # file ending of --out -> writer
    ".csv": lambda frame, file: frame.to_csv(file, index=False),
    ".jsonl": lambda frame, file: frame.to_json(file, orient="records", lines=True, force_ascii=False, **DIGITS),
    ".parquet": lambda frame, file: frame.to_parquet(file, index=False),
}


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    calls = {"evaluate": _evaluate, "predict": _predict, "export": _export}
    parsers = {name: commands.add_parser(name, help=about, description=about) for name, about in ABOUT.items()}
    for name, parser in parsers.items():
        parser.set_defaults(call=calls[name])
        parser.add_argument("run", type=Path, help="the run's folder, such as results/runs/<id>")
        config_dirs.add_option(parser)
    about = "such as task=glue/rte, task.data_dir=folder, model.weights=path or trainer.eval_batch_size=8"
    parsers["evaluate"].add_argument("overrides", metavar="key=value", nargs="*", help=about)
    about = "a .parquet, .csv, .tsv or .jsonl file with the task's text columns, an image, or a folder of images"
    parsers["predict"].add_argument("input", type=Path, help=about)
    about = f"a file that ends in {', '.join(WRITERS)}; default: CSV to standard output"
    parsers["predict"].add_argument("--out", type=Path, help=about)
    parsers["export"].add_argument("folder", type=Path, help="a new or an empty folder")
    parsers["export"].add_argument("--adapter", action="store_true", help="the PEFT adapter instead of merged weights")


def _finished(options: argparse.Namespace) -> "tuple[Record, Config]":
    """Return the record and the configuration of the named run."""
    from surm_bench.records import read_finished

    return read_finished(options.run)


def _evaluate(options: argparse.Namespace) -> int:
    from surm_bench.trained.changes import changed_config

    record, config = _finished(options)
    changed = changed_config(config, options.overrides)

    from surm_bench.trained.evaluate import evaluate  # imports torch, so only when needed

    for score in evaluate(options.run, record, changed):
        recorded = "" if score.recorded is None else f"  (record: {score.recorded:.4f})"
        print(f"{score.split:<12} {score.metric:<22} {score.value:.4f}{recorded}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    _, config = _finished(options)
    if options.out and options.out.is_dir():
        raise UserError(f"--out {options.out} is a folder: name a file")
    if options.out and options.out.exists() and options.input.exists() and options.out.samefile(options.input):
        raise UserError(f"--out {options.out} is the input, which would be overwritten: name another file")
    if options.out and options.out.suffix.lower() not in WRITERS:
        raise UserError(f"--out {options.out} is not possible: name a file that ends in {', '.join(WRITERS)}")

    from surm_bench.trained.predict import predictions

    frame = predictions(options.run, options.input, config)
    if options.out is None:
        frame.to_csv(sys.stdout, index=False)
        return 0
    with atomic(options.out) as temporary:
        WRITERS[options.out.suffix.lower()](frame, temporary)
    print(f"{len(frame):,} predictions in {options.out}")
    return 0


def _export(options: argparse.Namespace) -> int:
    record, _ = _finished(options)
    folder = options.folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not an empty folder: name a new or an empty folder")

    from surm_bench.trained import export

    (export.export_adapter if options.adapter else export.export_merged)(options.run, record, folder)
    print(f"Written to {folder}")
    return 0

"""``surm-bench params``: count the parameters of every adapter on a model."""

import argparse
from pathlib import Path

from surm_bench.errors import unknown


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "count every adapter's parameters on a model, from its architecture alone, without weights or the hub"
    parser = commands.add_parser("params", help=about, description=about)
    parser.add_argument("model", help="a file of configs/model, such as roberta_base, or all")
    parser.add_argument("--folder", type=Path, help="also write each table there as Markdown, LaTeX and CSV")
    parser.add_argument("--config-dir", action="append", default=[], help="a folder of more models, adapters, …")
    parser.set_defaults(call=_run)


def _run(options: argparse.Namespace) -> int:
    from surm_bench.config.composition import add_config_dir, choices

    for folder in options.config_dir:
        add_config_dir(folder)
    models = choices("model")
    if options.model not in (*models, "all"):
        raise unknown("model", options.model, [*models, "all"])

    from surm_bench.run.parameter_table import show_parameters  # imports torch, so only when needed

    for model in models if options.model == "all" else [options.model]:
        show_parameters(model, options.folder)
    return 0

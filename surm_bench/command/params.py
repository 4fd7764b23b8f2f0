"""``surm-bench params``: count the parameters of every adapter on a model."""

import argparse
from pathlib import Path

from surm_bench.command import config_dirs
from surm_bench.errors import unknown


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "count every adapter's parameters on a model, from its architecture alone, without weights or the hub"
    parser = commands.add_parser("params", help=about, description=about)
    parser.add_argument("model", help="a file of configs/model, such as roberta_base, or all")
    parser.add_argument("--folder", type=Path, help="also write each table there as Markdown, LaTeX and CSV")
    config_dirs.add_option(parser)
    parser.set_defaults(call=_run)


def _run(options: argparse.Namespace) -> int:
    from surm_bench.config.composition import choices

    models = choices("model")
    if options.model not in (*models, "all"):
        raise unknown("model", options.model, [*models, "all"])

    from surm_bench.run.parameter_table import show_parameters  # imports torch, so only when needed

    for model in models if options.model == "all" else [options.model]:
        show_parameters(model, options.folder)
    return 0

"""The option --config-dir: the user's folders of models, tasks, adapters and experiments."""

import argparse


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option to the parser of a command."""
    about = "a folder of more models, tasks, adapters, experiments, …"
    parser.add_argument("--config-dir", dest="config_dirs", action="append", default=[], help=about)


def add_folders(options: argparse.Namespace) -> None:
    """Add the folders that were given, if the command has the option.

    Raises:
        UserError: a path is not a folder, or a file in it has the name of a file of the package.
    """
    if folders := getattr(options, "config_dirs", []):
        from surm_bench.config.composition import add_config_dir  # imports Hydra, so only when needed

        for folder in folders:
            add_config_dir(folder)

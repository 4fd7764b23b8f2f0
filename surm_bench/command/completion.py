"""Shell completion, enabled by ``eval "$(surm-bench -sc install=bash)"``.

Runs use the completion of Hydra; other commands complete names.
"""

import os
from collections.abc import Iterable, Sequence

from surm_bench.command.experiments import COMMANDS
from surm_bench.command.study import STUDIES


def asked(arguments: Sequence[str]) -> bool:
    """Whether the arguments ask for Hydra's shell completion."""
    return bool({"-sc", "--shell-completion"} & set(arguments))


def complete(arguments: Sequence[str], commands: Iterable[str]) -> int:
    """Print the completion script, or the words that may follow the line in the shell's COMP_LINE.

    Args:
        commands: the names of all commands.
    """
    words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) > 2 and words[1] != "run":
        print(" ".join(_names(words[1])))
    elif len(words) == 2:
        print(" ".join(commands))
    else:
        from surm_bench.command import run

        os.environ["COMP_LINE"] = " ".join(words[:1] + words[2:])  # Hydra's command line begins after "run"
        return run.run(arguments)
    return 0


def _names(command: str) -> Sequence[str]:
    """Return the names that a command accepts."""
    from surm_bench.config.composition import choices
    from surm_bench.experiment.files import experiment_files

    if command in COMMANDS:
        return list(experiment_files())
    return {"params": [*choices("model"), "all"], "study": list(STUDIES)}.get(command, [])

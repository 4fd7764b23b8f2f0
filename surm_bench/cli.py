"""The command line: composes the configuration with Hydra and hands it to the runner.

python -m surm_bench model=vit_digits task=digits adapter=circulant seed=0
python -m surm_bench -m model=roberta_base task=glue/rte adapter=circulant,lora seed=0,1,2
"""

import os
import shlex
import sys

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from surm_bench.config import Config, config_dir
from surm_bench.errors import UserError, unknown
from surm_bench.places import is_place

GROUPS = ("model", "task", "adapter", "optimizer", "trainer", "tracking")
ConfigStore.instance().store(name="schema", node=Config)
_refused: list[UserError] = []


def main() -> None:
    """Run what the command line names; bad input is one line on standard error and exit code 2."""
    try:
        check_arguments(sys.argv[1:])
    except UserError as error:
        _complain(error)
        sys.exit(2)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here instead of being printed over many lines
    try:
        _job()
    except (HydraException, OmegaConfBaseException) as error:
        _complain(UserError(f"{first_lines(error)} (the keys there are: python -m surm_bench --cfg job)"))
        sys.exit(2)
    except KeyboardInterrupt as error:
        print(f"surm-bench: interrupted{stopped_by(error)}; the same command goes on", file=sys.stderr)
        sys.exit(128 + getattr(error, "signal_number", 2))
    if _refused:
        sys.exit(2)


@hydra.main(config_path=str(config_dir()), config_name="config", version_base="1.3")
def _job(cfg: DictConfig) -> None:
    """One job of the command line. A refused one is told at once, and the next job of a multirun still runs."""
    from surm_bench.runner import run  # torch and friends: not for --help or a typing error

    overrides = [override for override in HydraConfig.get().overrides.task if not is_place(override)]
    try:
        run(cfg, command=shlex.join(["python", "-m", "surm_bench", *overrides]))
    except UserError as error:
        _complain(error)
        _refused.append(error)


def stopped_by(error: KeyboardInterrupt) -> str:
    """What an interruption says of itself, as `` (SIGTERM after a training step; its state is saved)``."""
    return f" ({error})" if str(error) else ""


def check_arguments(arguments: list[str]) -> None:
    """Refuse unknown choices of a config group in one line, and torchrun with a multirun, which would hang."""
    if {"-m", "--multirun"} & set(arguments) and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("a multirun (-m) under several processes would hang: launch each run by itself")
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in GROUPS and "(" not in value:  # Hydra's own glob(...) and choice(...) are left to it
            known = choices(key)
            for choice in value.split(","):
                if choice.strip("'\" ") not in known:
                    raise unknown(key, choice, known)


def choices(group: str) -> list[str]:
    """The names of a config group, as ``glue/rte`` where it is nested."""
    root = config_dir() / group
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))


def first_lines(error: Exception) -> str:
    """What Hydra says and why, without its advice to append keys that nothing reads."""
    told = [line for part in filter(None, (error, error.__cause__)) for line in str(part).splitlines()]
    advice = ("To append", "full_key", "reference_type", "object_type")
    return " ".join(
        dict.fromkeys(line.strip() for line in told if line.strip() and not line.strip().startswith(advice))
    )


def _complain(error: Exception) -> None:
    if os.environ.get("RANK", "0") == "0":  # once, of however many processes
        print(f"surm-bench: {error}".replace("\n", " "), file=sys.stderr)

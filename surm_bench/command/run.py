"""``surm-bench run``: compose the configuration with Hydra and pass it to the runner.

surm-bench run model=vit_digits task=digits adapter=circulant seed=0
surm-bench run -m model=roberta_base task=glue/rte adapter=circulant,lora seed=0,1,2

With --quiet a run prints its outcome in one line, without progress, and a sweep prints no table.
"""

import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from surm_bench.command.errors import complain
from surm_bench.config.composition import KEYS_HINT, add_config_dir, check_choices, first_lines, typed
from surm_bench.config.places import is_place, with_quotes
from surm_bench.errors import UserError
from surm_bench.hub import check_reach
from surm_bench.system.installation import config_dir
from surm_bench.system.storage import StorageError

if TYPE_CHECKING:
    from surm_bench.command.sweep import Made

# Hydra's flags, https://hydra.cc/docs/advanced/hydra-command-line-flags: VALUED flags take the next argument as a value
VALUED = (
    *("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--cfg", "-c", "--package", "-p"),
    *("--experimental-rerun", "--shell-completion", "-sc"),
)
INFO = ("--info", "-i")  # may take a value
FLAGS = (*VALUED, *INFO, "--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m")
QUIET = "--quiet"


class Jobs:
    """The jobs of one command. Hydra calls each of them.

    Attributes:
        made: the jobs that ended with a record.
        errors: the errors of the others.
    """

    def __init__(self, quiet: bool, sweep: bool) -> None:
        self.made: list[Made] = []
        self.errors: list[Exception] = []
        self._quiet, self._sweep = quiet, sweep

    def run(self, cfg: DictConfig) -> None:
        """Make the run of a configuration. Bad input is printed, and in a sweep every other error too."""
        if any(isinstance(error, StorageError) for error in self.errors):
            return  # skip the rest of a sweep, because no result could be recorded
        try:
            self.made.append(self._made(cfg))
        except UserError as error:
            complain(error)
            self.errors.append(error)
        except Exception as error:
            if not self._sweep:
                raise
            traceback.print_exc()
            overrides = " ".join(HydraConfig.get().overrides.task)
            complain(f"failed: {overrides}: {type(error).__name__}: {error}")
            self.errors.append(error)

    @property
    def exit_code(self) -> int:
        """2 for bad input, otherwise 1 if a run failed, otherwise 0."""
        bad = any(isinstance(error, UserError) for error in self.errors)
        return 2 if bad else 1 if self.errors else 0

    def _made(self, cfg: DictConfig) -> "Made":
        config = typed(cfg)
        config.check()
        check_reach(config)
        # torch is not needed for --help or bad input
        from surm_bench.command.sweep import Made
        from surm_bench.records.summary import next_steps
        from surm_bench.run.runner import run, silent

        if self._quiet:
            config = config.having(trainer={"progress": False})
        say = silent if self._quiet or self._sweep else print
        overrides = [override for override in HydraConfig.get().overrides.task if not is_place(override)]
        record = run(config, command=shlex.join(["python", "-m", "surm_bench", *overrides]), announce=say)
        if os.environ.get("RANK", "0") == "0":
            say(next_steps(record, config.results_dir))
        return Made(overrides, record)


def run(arguments: Sequence[str]) -> int:
    """Make the run or sweep that the arguments (Hydra's overrides and flags) describe; return the exit code.

    Raises:
        UserError: bad input. In a sweep, the error of one job is printed at once and the other jobs still run. Only a
            full or missing disk ends the sweep.
    """
    quiet, arguments = QUIET in arguments, [argument for argument in arguments if argument != QUIET]
    overrides, flags = split(arguments)
    check(arguments)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises errors here and prints no long traceback
    sweep = bool({"-m", "--multirun"} & set(arguments))
    sys.argv = ["surm-bench", *(with_quotes(override, sweep) for override in overrides), *flags]
    jobs = Jobs(quiet, sweep)

    @hydra.main(config_path=str(config_dir()), config_name="config", version_base="1.3")
    def job(cfg: DictConfig) -> None:
        jobs.run(cfg)

    try:
        job()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"{first_lines(error)} ({KEYS_HINT})") from error
    if len(jobs.made) > 1 and not quiet:
        from surm_bench.command.sweep import print_sweep

        print_sweep(jobs.made)
    return jobs.exit_code


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split arguments into overrides and Hydra's flags with their values; flags may stand anywhere among overrides.

    Raises:
        UserError: a flag is unknown or lacks its value, or an override has no key.
    """
    overrides: list[str] = []
    flags: list[str] = []
    for before, argument in zip(("", *arguments), arguments, strict=False):
        is_value = before in VALUED or (before in INFO and "=" not in argument)
        (flags if is_value or argument.startswith("-") else overrides).append(argument)
        name = argument.partition("=")[0]
        if argument.startswith("-") and not is_value and not any(flag.startswith(name) for flag in FLAGS):
            raise UserError(f"run has no option {name}: write key=value, such as task.data_dir=folder ({KEYS_HINT})")
    if nameless := [override for override in overrides if override.startswith("=")]:
        raise UserError(f"{nameless[0]} has no key before its value: write key=value ({KEYS_HINT})")
    if arguments and arguments[-1] in VALUED:
        raise UserError(f"{arguments[-1]} needs a value after it")
    return overrides, flags


def check(arguments: Sequence[str]) -> None:
    """Refuse unknown choices of a configuration group, and a sweep under torchrun, which would hang."""
    if {"-m", "--multirun"} & set(arguments) and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("a multirun (-m) in several processes would hang: launch each run by itself")
    for folder in _config_dirs(arguments):
        add_config_dir(folder)
    if not any(argument.lstrip("+").startswith("hydra.searchpath=") for argument in arguments):  # only Hydra reads it
        check_choices(arguments)


def _config_dirs(arguments: Sequence[str]) -> list[str]:
    """Return the folders given by --config-dir (-cd), which Hydra reads too."""
    flags = ("--config-dir", "-cd")
    after = [value for flag, value in zip(arguments, arguments[1:], strict=False) if flag in flags]
    return after + [argument.partition("=")[2] for argument in arguments if argument.startswith("--config-dir=")]

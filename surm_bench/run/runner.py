"""Execute one run from its configuration to its record. This module combines all parts of the package."""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
import datetime
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from accelerate import PartialState
from omegaconf import DictConfig
from peft import PeftModel

from surm_bench import records
from surm_bench.adapters.build import without_known_warnings
from surm_bench.config import Config
from surm_bench.config.code_digests import method_digest, source_digest
from surm_bench.config.composition import own_architecture, settings_of
from surm_bench.config.identity import check_defaults, group_id, identity, run_id
from surm_bench.config.places import keep_places, without_places
from surm_bench.config.positive_class import named_class
from surm_bench.config.values import check_family, check_scored_batches, plain
from surm_bench.errors import UserError
from surm_bench.models import Backbone
from surm_bench.models.check import check_model
from surm_bench.models.digest import model_digest
from surm_bench.records.summary import summary
from surm_bench.run.build import build, build_model
from surm_bench.run.measure import measure
from surm_bench.system import environment
from surm_bench.system.storage import StorageError, storage_errors
from surm_bench.tasks import TaskData, check_metric, check_task, objective_for
from surm_bench.tasks.digest import task_digest
from surm_bench.tasks.sources import labels, reported_split
from surm_bench.tracking import check_tracking
from surm_bench.training import (
    Diverged,
    check_config,
    check_outputs,
    check_selection,
    evaluation_loader,
    make_accelerator,
    predict,
    use_device,
)

logger = logging.getLogger(__name__)


def run(cfg: DictConfig, report: Callable[[str], None] = print, command: str | None = None) -> dict:
    """Train, evaluate and record one run. Without cfg.rerun, the record of a finished run is read instead.

    An interrupted run that is started again continues from its saved state. A loss that is not finite is a result: the
    record then has status "diverged".

    Args:
        cfg: a composed configuration with surm_bench.config.schema.Config as its schema.
        report: called with the outcome in one line.
        command: the command that repeats the run, for the record.

    Returns:
        The record, equal to ``results_dir/runs/<run_id>/record.json``.

    Raises:
        UserError: invalid input. Any error after the run has begun leaves a record with status "failed".
        Locked: another process trains this run or took it over. Nothing is written.
        StorageError: the disk of the results is full or missing. No record can be written.
    """
    config, settings = checked(cfg)
    use_device(settings.trainer.device)
    main = PartialState().is_main_process  # only the main process writes record, report and W&B run
    report = report if main else (lambda line: None)
    identifier = run_id(config, PartialState().num_processes)
    folder = records.run_folder(settings.results_dir, identifier)
    earlier = _earlier(settings, identifier)
    if records.is_done(earlier):
        return _already(_renamed(earlier, config, settings, command), report)
    if records.is_given_up(earlier):
        reason = f"run {identifier} failed {earlier['attempts']} times, last with: {earlier['error']}"
        raise UserError(f"{reason}; rerun=true tries it again")
    check_tracking(settings.tracking)
    if not main:
        return _attempt(settings, config, _about(settings, config, earlier, command), folder)
    with storage_errors(settings.results_dir), records.locked(folder):
        earlier = _earlier(settings, identifier)
        if records.is_done(earlier):  # another process finished the run meanwhile
            return _already(earlier, report)
        if reason := records.set_aside(folder):
            logger.warning("%s and the run is made again", reason)
        with records.run_log(folder):
            record = _about(settings, config, earlier, command)
            records.LINES.info("attempt %d, on %s", record["attempts"], record["environment"]["device"])
            record = _attempt(settings, config, record, folder)
    report(summary(record))
    return record


def checked(cfg: DictConfig) -> tuple[dict, Config]:
    """Resolve and validate the configuration. Return it as a dict and as a Config, with the digests of its content.

    Raises:
        UserError: an unknown key, an invalid value, or a path that cannot be read or written.
    """
    return check(plain(cfg))


def check(config: dict) -> tuple[dict, Config]:
    """Validate a resolved configuration and complete it in place. Return it with its Config, as ``checked`` does."""
    settings = settings_of(config)
    check_config(settings.optimizer, settings.trainer, settings.seed)
    check_family(settings)
    check_scored_batches(settings)
    check_model(settings.model)
    config["model"]["architecture"] = settings.model.architecture = own_architecture(config["model"])
    check_task(settings.task)
    check_selection(settings.trainer, settings.task)
    settings.task.label_names, settings.task.num_labels = labels(settings.task)
    config["task"] |= {"label_names": settings.task.label_names, "num_labels": settings.task.num_labels}
    config["task"]["eval_split"] = settings.task.eval_split = reported_split(settings.task)
    check_outputs(settings.optimizer, settings.task.num_labels)
    check_metric(settings.task)
    config["task"]["positive_class"] = settings.task.positive_class = named_class(config["task"])
    check_defaults(config["adapter"]["peft"])
    records.check_writable(settings.results_dir)
    config["model"]["digest"] = settings.model.digest = settings.model.digest or model_digest(settings.model)
    config["task"]["digest"] = settings.task.digest = settings.task.digest or task_digest(settings.task)
    return config, settings


def load_run(folder: str | Path, settings: Config | None = None) -> tuple[PeftModel, TaskData, Config]:
    """Build the backbone and load the adapter of a finished run. Return the model in evaluation mode, data and Config.

    Args:
        settings: used instead of the run's configuration, for example for another task with the same number of labels.

    Raises:
        UserError: the run did not finish, its adapter is not in the folder, or the record or the adapter cannot be
            read or was changed after it was written.
    """
    _, config = records.finished(folder)
    settings = settings or settings_of(config)
    backbone, data = build(settings)
    return _adapted(backbone, folder), data, settings


def load_model(folder: str | Path) -> tuple[PeftModel, Backbone, Config]:
    """Load the model of a finished run like load_run, without its data. Return the model, its Backbone and its Config.

    Raises:
        UserError: as load_run.
    """
    _, config = records.finished(folder)
    settings = settings_of(config)
    backbone = build_model(settings)
    return _adapted(backbone, folder), backbone, settings


def evaluate(model: torch.nn.Module, data: TaskData, settings: Config, split: str = "reported") -> dict[str, float]:
    """Return the scores of a model on one split of its task."""
    accelerator = make_accelerator(settings.trainer.precision)
    loader = evaluation_loader(data.splits[split], data.collate, settings.trainer)
    return objective_for(settings.task).metrics(*predict(*accelerator.prepare(model, loader), accelerator))


def _adapted(backbone: Backbone, folder: str | Path) -> PeftModel:
    with without_known_warnings():
        return PeftModel.from_pretrained(backbone.module, Path(folder) / "adapter").eval()


def _earlier(settings: Config, identifier: str) -> dict | None:
    """Return the authoritative record of the run, if there is one; None with rerun=true."""
    if settings.rerun:
        return None
    try:
        return records.read_record(settings.results_dir, identifier)
    except UserError as error:  # results that do not agree, or a record of another version
        raise UserError(f"{error}; rerun=true makes it again") from None


def _already(record: dict, report: Callable[[str], None]) -> dict:
    report(f"{summary(record)} (already done; rerun=true repeats it)")
    return record


def _renamed(record: dict, config: dict, settings: Config, command: str | None) -> dict:
    """Rename the classes in a finished record as in this configuration. No result depends on the names.

    If this folder contains the record, the renamed record and the paths of data and weights are written to the folder.
    Otherwise the record is returned unchanged.
    """
    folder = records.run_folder(settings.results_dir, record["run_id"])
    own = records.read_run(folder) if PartialState().is_main_process else None
    if own is None or own["checksum"] != record["checksum"]:
        return record
    keep_places(config, folder)
    named = {name: config["task"][name] for name in ("label_names", "positive_class")}
    if named["label_names"] in (None, record["config"]["task"]["label_names"]):
        return record
    known = record["config"] | {"task": record["config"]["task"] | named}
    with storage_errors(settings.results_dir), records.locked(folder):
        return records.write(record | {"config": known, "command": command or record["command"]}, settings.results_dir)


def _about(settings: Config, config: dict, earlier: dict | None, command: str | None) -> dict:
    """Return the parts of the record that are known before training."""
    processes = PartialState().num_processes
    objective = objective_for(settings.task)
    return {
        "run_id": run_id(config, processes),
        "group_id": group_id(config, processes),
        "config": without_places(config),
        "identity": identity(config, processes),
        "code": {"sources": source_digest(), "method": method_digest(settings.adapter.peft["_target_"])},
        "seed": settings.seed,
        "primary_metric": objective.primary_metric,
        "greater_is_better": objective.greater_is_better,
        "environment": environment.describe(),
        "command": command,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "attempts": 1 + (0 if earlier is None else earlier["attempts"]),
        "files": {},
    }


def _attempt(settings: Config, config: dict, record: dict, folder: Path) -> dict:
    """Run and record the outcome, also of a failure."""
    began = time.perf_counter()
    if PartialState().is_main_process:
        keep_places(config, folder)
    try:
        with storage_errors(settings.results_dir):
            return measure(settings, record, folder, began)
    except (StorageError, records.Lost):
        raise
    except Diverged as error:
        return _write(record | {"status": "diverged", "error": str(error)}, settings.results_dir)
    except KeyboardInterrupt as error:
        with suppress(records.Lost):
            _write(_ended(record, "interrupted", str(error) or "KeyboardInterrupt", counts=False), settings.results_dir)
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        _write(_ended(record, "failed", reason, counts=not isinstance(error, UserError)), settings.results_dir)
        raise


def _ended(record: dict, status: str, error: str, counts: bool) -> dict:
    """Return the record of a run without a result. Invalid input and interruptions do not count as attempts."""
    return record | {"status": status, "error": error, "attempts": record["attempts"] - (not counts)}


def _write(record: dict, results_dir: str) -> dict:
    """Write the record in the main process. A failed rerun does not replace an earlier result."""
    folder = records.run_folder(results_dir, record["run_id"])
    if not PartialState().is_main_process:
        return record
    with records.held(folder):
        undoes = not records.is_done(record) and records.is_done(records.read_run(folder))
        if not undoes:
            record = records.write(record, results_dir)
            records.LINES.info(summary(record))
    return record

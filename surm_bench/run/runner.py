"""Execute one run from its configuration to its record. This module combines all parts of the package."""

import datetime
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from accelerate import PartialState

from surm_bench import records
from surm_bench.config import Config
from surm_bench.config.code_digests import method_digest, source_digest
from surm_bench.config.composition import with_architecture
from surm_bench.config.identity import check_defaults, group_id, identity, run_id
from surm_bench.config.places import keep_places, without_places
from surm_bench.config.positive_class import named_class
from surm_bench.errors import UserError
from surm_bench.models.digest import model_digest
from surm_bench.records.record import Code, Environment, Record
from surm_bench.records.summary import summary
from surm_bench.run.outcome import write_outcome
from surm_bench.run.train import STATE, train_and_record
from surm_bench.system import environment
from surm_bench.system.storage import StorageError, storage_errors
from surm_bench.tasks import TaskReader, check_metric, objective_for
from surm_bench.tracking import check_tracking
from surm_bench.training import (
    Diverged,
    check_device,
    check_outputs,
    use_device,
)

logger = logging.getLogger(__name__)


Say = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""


def run(config: Config, report: Say = print, command: str | None = None, announce: Say = silent) -> Record:
    """Train, evaluate and record one run. If the run is already finished, return its record (unless config.rerun).

    An interrupted run continues from its saved state when it is started again. A loss that is not finite is a result:
    the record then has status "diverged".

    Args:
        config: see surm_bench.config.composition.resolved.
        report: called with the outcome in one line.
        command: the command that repeats the run, for the record.
        announce: called before training with a few lines that say what is trained.

    Returns:
        The record, equal to ``results_dir/runs/<run_id>/record.json``.

    Raises:
        UserError: invalid input. Any error after the run has begun leaves a record with status "failed".
        Locked: another process trains this run or took it over. Nothing is written.
        StorageError: the disk of the results is full or missing. No record can be written.
    """
    config, reader = checked(config)
    use_device(config.trainer.device)
    main = PartialState().is_main_process  # only the main process writes record, report and W&B run
    report = report if main else silent
    identifier = run_id(config, PartialState().num_processes)
    folder = records.run_folder(config.results_dir, identifier)
    earlier = _earlier(config, identifier)
    if earlier and earlier.is_done:
        return _already(_renamed(earlier, config, command), report)
    if earlier and earlier.is_given_up:
        reason = f"run {identifier} failed {earlier.attempts} times; the last error is: {earlier.error}"
        raise UserError(f"{reason}; give rerun=true to try it again")
    check_tracking(config.tracking)
    if not main:
        return _attempt(config, _begun(config, earlier, command), reader, silent)
    with storage_errors(config.results_dir), records.locked(folder):
        earlier = _earlier(config, identifier)
        if earlier and earlier.is_done:  # another process finished the run meanwhile
            return _already(earlier, report)
        if reason := records.set_aside(folder):
            logger.warning("%s, and the run is made again", reason)
        with records.run_log(folder):
            record = _begun(config, earlier, command)
            records.LINES.info("attempt %d, on %s", record.attempts, record.environment.device)
            record = _attempt(config, record, reader, announce)
    report(summary(record))
    return record


def checked(config: Config) -> tuple[Config, TaskReader]:
    """Refuse invalid input before any expensive work, and complete the configuration from its data and weights.

    Data and weights determine class names, number of labels, reported split and digests.

    Returns:
        The complete configuration, and the reader of its task, which keeps the rows that were read.

    Raises:
        UserError: an invalid value, or a path that cannot be read or written.
    """
    config.check()
    check_device(config.trainer)
    model, reader = with_architecture(config.model), TaskReader(config.task)
    task = reader.config
    check_outputs(config.optimizer, task.num_labels)
    check_metric(task)
    check_defaults(config.adapter)
    records.check_writable(config.results_dir)
    model = replace(model, digest=model.digest or model_digest(model))
    task = replace(task, positive_class=named_class(task), digest=reader.digest)
    return replace(config, model=model, task=task), reader


def _earlier(config: Config, identifier: str) -> Record | None:
    """Return the authoritative record of the run, if there is one; None with rerun=true."""
    if config.rerun:
        return None
    try:
        return records.authoritative_record(config.results_dir, identifier)
    except UserError as error:  # results that do not agree, or a record of another version
        raise UserError(f"{error}; give rerun=true to make the run again") from None


def _already(record: Record, report: Callable[[str], None]) -> Record:
    report(f"{summary(record)} (already done; give rerun=true to repeat it)")
    return record


def _renamed(record: Record, config: Config, command: str | None) -> Record:
    """Rename the classes in a finished record as in this configuration. No result depends on the names.

    If this folder contains the record, the renamed record and the paths of data and weights are written to the folder.
    Otherwise the record is returned unchanged.
    """
    folder = records.run_folder(config.results_dir, record.run_id)
    own = records.read_folder(folder) if PartialState().is_main_process else None
    if own is None or own.checksum != record.checksum:
        return record
    keep_places(config, folder)
    names = config.task.label_names
    if names in (None, record.config.task.label_names):
        return record
    renamed = record.config.having(task={"label_names": names, "positive_class": config.task.positive_class})
    with storage_errors(config.results_dir), records.locked(folder):
        return records.write(record.having(config=renamed, command=command or record.command), config.results_dir)


def _begun(config: Config, earlier: Record | None, command: str | None) -> Record:
    """Return the record of a run that begins now: the fields that are known before training."""
    processes, objective = PartialState().num_processes, objective_for(config.task)
    return Record(
        run_id=run_id(config, processes),
        group_id=group_id(config, processes),
        config=without_places(config),
        identity=identity(config, processes),
        code=Code(source_digest(), method_digest(config.adapter.target)),
        seed=config.seed,
        primary_metric=objective.primary_metric,
        greater_is_better=objective.greater_is_better,
        environment=Environment(**environment.describe()),
        command=command,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        attempts=1 + (earlier.attempts if earlier else 0),
    )


def _attempt(config: Config, record: Record, reader: TaskReader, announce: Say) -> Record:
    """Run and record the outcome, also of a failure."""
    began = time.perf_counter()
    if PartialState().is_main_process:
        keep_places(config, records.run_folder(config.results_dir, record.run_id))
    try:
        with storage_errors(config.results_dir):
            return train_and_record(config, record, reader, began, announce)
    except (StorageError, records.Lost):
        raise
    except Diverged as error:
        record = write_outcome(record.having(status="diverged", error=str(error)), config.results_dir)
        if PartialState().is_main_process:  # a repeated run must not continue from numbers that are not finite
            shutil.rmtree(records.run_folder(config.results_dir, record.run_id) / STATE, ignore_errors=True)
        return record
    except KeyboardInterrupt as error:
        with suppress(records.Lost):
            ended = _ended(record, "interrupted", str(error) or "KeyboardInterrupt", counts=False)
            write_outcome(ended, config.results_dir)
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        write_outcome(_ended(record, "failed", reason, counts=not isinstance(error, UserError)), config.results_dir)
        raise


def _ended(record: Record, status: str, error: str, counts: bool) -> Record:
    """Return the record of a run without a result. Invalid input and interruptions do not count as attempts."""
    return record.having(status=status, error=error, attempts=record.attempts - (not counts))

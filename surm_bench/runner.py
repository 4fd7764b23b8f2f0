"""One run from its config to its record: the only room that knows everybody."""

import surm_bench.torchvision_stub  # noqa: F401

# isort: split
import datetime
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import set_seed
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from peft import PeftModel

from surm_bench import environment, records
from surm_bench.adapters.build import attach
from surm_bench.adapters.schedule import schedule
from surm_bench.config import Config
from surm_bench.errors import UserError
from surm_bench.models import Backbone, build_backbone
from surm_bench.models.weights import local_path
from surm_bench.parameters import compare_with_lora, count_parameters, lora_parameters
from surm_bench.prefix_cache import cache_prefix
from surm_bench.tasks import TaskData, check_metric, check_task, load_task, objective_for, prepare
from surm_bench.tasks.sources import local_files, num_labels
from surm_bench.tracking import Tracker, track
from surm_bench.training import History, check_config, evaluation_loader, fit, make_accelerator, predict

HOLDOUT = "validation/"  # what the history calls the scores on the part of train kept apart
KINDS = {"text": "text", "image": "vision"}  # the family of models for each kind of task


def run(cfg: DictConfig, report: Callable[[str], None] = print) -> dict:
    """Train, evaluate and record one run; a finished one is read, not repeated, unless cfg.rerun.

    Args:
        cfg: a composed configuration with surm_bench.config.Config as its schema.
        report: is told in one line what came out.

    Returns:
        The record, as it lies in ``results_dir/runs/<run_id>/record.json``.

    Raises:
        UserError: bad input. Any error after the run has begun leaves a record with status "failed".
    """
    PartialState(cpu=not torch.cuda.is_available())  # unasked it would not see the processes of torchrun on a CPU
    config = OmegaConf.to_container(cfg, resolve=True)
    settings = _settings(config)
    check_config(settings.optimizer, settings.trainer, settings.seed)
    if KINDS.get(settings.task.kind) != settings.model.family:
        raise UserError(
            f"task {settings.task.name} is of kind {settings.task.kind!r}, model {settings.model.name} of family "
            f"{settings.model.family!r}: choose a {KINDS.get(settings.task.kind)} model"
        )
    check_task(settings.task)
    config["task"]["num_labels"] = settings.task.num_labels = num_labels(settings.task)
    check_metric(settings.task)
    records.check_writable(settings.results_dir)
    if not PartialState().is_main_process:  # one record, one report, one W&B run of however many processes
        report = _silent

    identity = _identity(settings)
    run_id, group_id = records.run_id(config, identity), records.group_id(config, identity)
    folder = records.run_folder(settings.results_dir, run_id)
    if not settings.rerun and records.is_finished(settings.results_dir, run_id):
        record = records.read(folder / "record.json")
        report(f"{_summary(record)} (already done; rerun=true repeats it)")
        return record

    record = {
        "run_id": run_id,
        "group_id": group_id,
        "config": config,
        "identity": identity,
        "seed": settings.seed,
        "primary_metric": settings.task.primary_metric,
        "environment": environment.describe(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    began = time.perf_counter()
    try:
        record |= _measure(settings, config, record, folder) | {"status": "success"}
        record["timing"]["wall_seconds"] = time.perf_counter() - began
    except KeyboardInterrupt:
        _write(record | {"status": "interrupted"}, settings.results_dir)
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {error}".partition("\n")[0]
        _write(record | {"status": "failed", "error": told}, settings.results_dir)
        raise
    _write(record, settings.results_dir)
    report(_summary(record))
    return record


def build(settings: Config) -> tuple[Backbone, TaskData]:
    """The pretrained backbone with the head that this seed draws, and the task prepared for it."""
    set_seed(settings.seed)
    raw = load_task(settings.task, settings.seed)
    backbone = build_backbone(settings.model, settings.task.num_labels, objective_for(settings.task).model_class)
    return backbone, prepare(raw, backbone.processor)


def load_run(folder: str | Path) -> tuple[PeftModel, TaskData, Config]:
    """The trained model of a finished run, in evaluation mode, with its task; the backbone is built anew.

    Raises:
        UserError: the record is not readable, or the run did not finish.
    """
    record = records.read(Path(folder) / "record.json")
    if record["status"] != "success":
        raise UserError(f"run {record['run_id']} has status {record['status']!r}: only a finished run can be loaded")
    settings = _settings(record["config"])
    backbone, data = build(settings)
    model = PeftModel.from_pretrained(backbone.module, Path(folder) / "adapter")
    return model.eval(), data, settings


def evaluate(model: torch.nn.Module, data: TaskData, settings: Config) -> dict[str, float]:
    """The scores of a model on its task's reported split, not the extra ones."""
    accelerator = make_accelerator(settings.trainer.precision)
    loader = evaluation_loader(data.splits["reported"], data.collate, settings.trainer)
    return objective_for(settings.task).metrics(*predict(*accelerator.prepare(model, loader), accelerator))


def _measure(settings: Config, config: dict, record: dict, folder: Path) -> dict:
    """Train and evaluate; the parts of the record that only a run can tell."""
    backbone, data = build(settings)
    lora = lora_parameters(backbone.module, backbone.roles)
    model = attach(backbone.module, backbone.roles, settings.adapter)
    hooks = schedule(model)
    parameters = count_parameters(model)
    baseline = compare_with_lora(parameters, lora)
    tags = (settings.model.name, settings.task.name, settings.adapter.name)
    trained, timing = model, {}
    if settings.trainer.cache_prefix:
        clock = time.perf_counter()
        trained, data = cache_prefix(model, data, settings.trainer)
        timing["prefix_seconds"] = time.perf_counter() - clock
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    main = PartialState().is_main_process
    with track(config, record["run_id"], record["group_id"], tags) if main else nullcontext(Tracker()) as tracker:
        history = fit(trained, data, objective_for(settings.task), settings, hooks=hooks, log=tracker.log)
        epochs = [_flat(evaluation) for evaluation in history.evaluations]
        measured = {
            "metrics": choose_epochs(epochs, settings.task.primary_metric),
            "parameters": parameters,
            "baseline": baseline,
            "timing": timing | _timing(history),
            "memory": {"peak_bytes": environment.peak_memory_bytes()},
            "history": epochs,
        }
        tracker.summary({f"parameters/{name}": n for name, n in parameters.items()})
        tracker.summary({"lora/parameters": lora, "lora/ratio": baseline["ratio"]})
        tracker.summary({f"last/{name}": score for name, score in measured["metrics"]["last"].items()})
    if main:
        _save_adapter(model, folder)
    return measured


def choose_epochs(history: list[dict], primary_metric: str) -> dict:
    """The ``metrics`` part of a record: reported scores of the last and of the best epoch.

    The best epoch is the first with the highest primary metric, on the held-out part of train where there is one,
    and otherwise on the reported split itself; ``selection`` says which. ``extra`` has the further reported splits in
    the same two epochs.
    """
    held_out = f"{HOLDOUT}{primary_metric}" in history[-1]
    key = f"{HOLDOUT}{primary_metric}" if held_out else primary_metric
    best, last = max(history, key=lambda epoch: epoch[key]), history[-1]
    chosen = {"best": best, "last": last}
    extra = sorted({name.partition("/")[0] for name in last if "/" in name} - {HOLDOUT.removesuffix("/")})
    return {
        **{name: _scores(epoch, "") for name, epoch in chosen.items()},
        "validation": {name: _scores(epoch, HOLDOUT) for name, epoch in chosen.items()} if held_out else None,
        "selection": "holdout" if held_out else "dev",
        "extra": {split: {name: _scores(epoch, f"{split}/") for name, epoch in chosen.items()} for split in extra},
    }


def _flat(evaluation: dict) -> dict:
    """An evaluation of the loop as the history of a record has it."""
    plain = {name: value for name, value in evaluation.items() if name != "scores"}
    for split, named in evaluation["scores"].items():
        prefix = "" if split == "reported" else f"{split}/"
        plain |= {f"{prefix}{name}": value for name, value in named.items()}
    return plain


def _scores(epoch: dict, prefix: str) -> dict:
    """The scores of one split in one epoch of the history, with the epoch's number."""
    plain = {name.removeprefix(prefix): value for name, value in epoch.items() if name.startswith(prefix)}
    dropped = ("step", "train_loss")
    return {n: v for n, v in plain.items() if "/" not in n and n not in dropped} | {"epoch": epoch["epoch"]}


def _settings(config: dict) -> Config:
    """The config with its types; raises UserError on a key that nothing reads (Hydra's + adds any)."""
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), config))
    except OmegaConfBaseException as error:
        raise UserError(f"{str(error).splitlines()[0]} (the keys there are: python -m surm_bench --cfg job)") from None


def _timing(history: History) -> dict[str, float]:
    milliseconds = 1000 * np.array(history.step_seconds)
    return {
        "train_seconds": history.train_seconds,
        "step_ms_median": float(np.median(milliseconds)),
        "step_ms_p99": float(np.percentile(milliseconds, 99)),
        "samples_per_second": history.examples / history.train_seconds,
    }


def _identity(settings: Config) -> dict[str, str | int]:
    """What the config does not say of a run: the content of local weights and data, whose paths are not part of it,
    and the number of processes, each of which takes batches of its own.

    Raises:
        UserError: a path that does not exist.
    """
    identity = {}
    if weights := local_path(settings.model):
        identity["weights"] = records.content_digest(weights)
    if settings.task.data_dir is not None:
        identity["data"] = "-".join(records.content_digest(file) for file in local_files(settings.task))
    if PartialState().num_processes > 1:
        identity["processes"] = PartialState().num_processes
    return identity


def _silent(line: str) -> None:
    """Report nothing."""


def _write(record: dict, results_dir: str) -> None:
    """Write the record, once of however many processes; a rerun that breaks off does not undo a success."""
    undoes = record["status"] != "success" and records.is_finished(results_dir, record["run_id"])
    if PartialState().is_main_process and not undoes:
        records.write(record, results_dir)


def _save_adapter(model: PeftModel, folder: Path) -> None:
    """Save adapter and head of the last epoch beside the record, whole or not at all."""
    temporary, final = folder / ".adapter", folder / "adapter"
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary, save_embedding_layers=False)
    shutil.rmtree(final, ignore_errors=True)
    temporary.replace(final)


def _summary(record: dict) -> str:
    config, metric = record["config"], record["primary_metric"]
    ratio = record["baseline"]["ratio"]
    if ratio is None:
        compared = "no adapter"
    elif ratio == 1:
        compared = f"as many as LoRA r={record['baseline']['r']}"
    else:
        compared = (
            f"{max(ratio, 1 / ratio):.1f}x {'fewer' if ratio > 1 else 'more'} than LoRA r={record['baseline']['r']}"
        )
    return (
        f"{config['adapter']['label']} on {config['task']['name']} ({config['model']['name']}, seed {record['seed']}): "
        f"{metric} {record['metrics']['last'][metric]:.4f} (best epoch {record['metrics']['best'][metric]:.4f}), "
        f"{record['parameters']['adapter']:,} adapter parameters, {compared}, "
        f"{record['timing']['train_seconds']:.1f} s, run {record['run_id']}"
    )

"""The structured configuration: every key the runner reads, with its type, default and meaning. No torch here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING


def config_dir() -> Path:
    """The folder of YAML groups: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


@dataclass
class ModelConfig:
    """A backbone: which architecture, and where its weights come from."""

    name: str = MISSING  # in records and tables
    family: str = MISSING  # text | vision
    source: str = MISSING  # hub | package | embedded
    checkpoint: str = MISSING  # hub id, timm architecture, package name or embedded folder
    revision: str | None = None  # pinned revision on the hub
    weights: str | None = None  # a local safetensors file or checkpoint folder, instead of the source's weights
    image_size: int | None = None  # vision: square side in pixels; null: the checkpoint's own
    # vision: how an image that is no square becomes one. center: the ends of the longer side are cut off | squash: both
    # sides are scaled to the same length | border: what is missing of the shorter side is filled with the mean colour;
    # null: the checkpoint's own, which is center for most
    crop_mode: str | None = None
    # vision: the part that is kept of the side that crop_mode scales to image_size (center: the shorter, border: the
    # longer, squash: both), the rest is cut off around it. 1: nothing more is cut off; null: the checkpoint's own
    crop_pct: float | None = None
    # vision: subtracted from pixels of 0 to 1, of each channel or one for all; null: the checkpoint's own
    mean: list[float] | None = None
    # vision: what they are divided by then; mean=[0] and std=[1] leave pixels from 0 to 1; null: the checkpoint's own
    std: list[float] | None = None
    # What the weights (and, after a dash, the tokenizer) must be: see surm_bench/content. null: whatever is found, and
    # the record then has it. The id of a run takes it, so that a run is the same wherever its weights come from.
    digest: str | None = None
    # text, of a model of --config-dir: what its config.json holds, which the record then has; null: that of the name
    architecture: dict[str, Any] | None = None
    version: int = 1  # raised when the way this model is built changes results


@dataclass
class TaskConfig:
    """A data set, its columns and its metric."""

    name: str = MISSING  # in records and tables; the last part is the folder of local data
    kind: str = MISSING  # text | image
    source: str = MISSING  # hub | embedded | folder
    dataset: str | None = MISSING  # hub id, or the embedded generator's name; null for a folder, which is data_dir
    subset: str | None = None  # hub configuration, e.g. "rte" of nyu-mll/glue
    revision: str | None = None  # pinned revision on the hub
    train_split: str = "train"  # the split that is trained on
    # the reported split: no other one is scored instead (surm_bench/tasks/splits.py has its other names in a folder);
    # null, of a folder of images: the first there is of validation, test and val, and the record then has its name
    eval_split: str | None = MISSING
    extra_eval_splits: dict[str, str] = field(default_factory=dict)  # name -> split, reported beside it: metrics.extra
    inputs: list[str] = MISSING  # the text columns (one, or two as a pair), or the image column
    label: str = "label"  # the column of the labels
    rename: dict[str, str] = field(default_factory=dict)  # a source's column names -> those of inputs and label
    num_labels: int | None = (
        MISSING  # 1 means regression; null for a folder or names, where it is counted and written to the record
    )
    # the classes in order; null: the folders of images, or the labels of local rows where these are names, sorted; the
    # record then has them. Names that YAML takes for something else (no, yes, on, off, null, 1.0) need quotes
    label_names: list[Any] | None = None
    metric: str = MISSING  # configuration of the shipped evaluate module
    primary_metric: str = MISSING  # the key of that metric's result shown in tables
    # metric=f1_accuracy: the class that F1 is of, by its name, or by its number where no class has that name; null:
    # class 1, GLUE's positive one (of names in alphabetical order the second). The record then has its name
    positive_class: str | None = None
    # local data: data_dir/<last part of name>/{<train_split>,<eval_split>,<extra split>}.parquet, or .csv, .tsv or
    # .jsonl; of the source folder images as data_dir/{train,validation|test|val}/<class>/*.png
    data_dir: str | None = None
    # Training on less, at most one of these four:
    fraction: float | None = None  # a part of the training rows, above 0 up to 1, classes as equal as their sizes allow
    shots: int | None = None  # so many training rows of each class
    max_train_samples: int | None = None  # the first n of a shuffle of the training split
    # VTAB-1k (Zhai et al. 2019, arXiv 1910.04867), for images: 1,000 training rows, of which validation=dev keeps none
    # apart and the others 200. Drawn uniformly by subset_seed: not the benchmark's own list of images.
    vtab1k: bool = False
    max_eval_samples: int | None = None  # the first n of a shuffle of each reported split
    # Of all these draws: every run's subset is the same, whatever its seed; more contains less. null: the run's seed
    # draws the training rows, so that they are the same for all methods; reported rows are then drawn by 0.
    subset_seed: int | None = 0
    # images of more than 8 bits: the value that becomes white (255), such as 4095, or 1 for floats; null: the largest
    # of the file's format, and images whose format does not say (32-bit integers, floats) are refused
    white: float | None = None
    augment: str = "none"  # images: none | flip | flip_and_shift, of training images (surm_bench/tasks/augment.py)
    max_length: int = 128  # text: tokens per example at most
    # What the rows of the training, the reported and the extra splits must be, joined by dashes; as model.digest.
    digest: str | None = None
    version: int = 1  # raised when the way this task is prepared changes results
    # dev: only the reported split is scored, and the best epoch chosen by it | holdout: a part of train is held out and
    # scored too, and the best epoch chosen by that | tuning: the held-out part alone is scored.
    # Held out is a tenth of train, drawn by the run's seed, or where only a subset is trained on, unused rows.
    validation: str = "dev"
    validation_rows: int = 2000  # so many of the unused rows, or all there are; the same for all, as far as can be


@dataclass
class AdapterConfig:
    """A PEFT config by its class and fields, and the roles of the layers it adapts."""

    name: str = MISSING  # in records
    label: str = MISSING  # how tables call it
    lr: float = MISSING  # its usual learning rate, the default of optimizer.lr
    roles: list[str] = field(default_factory=list)  # names from surm_bench.roles; empty: the method's own
    role_fields: dict[str, list[str]] = field(default_factory=dict)  # other fields of the PEFT config that list modules
    first_layer: int = 0  # layers below this one get no adapter (AdapterDrop, arXiv 2010.11918)
    peft: dict[str, Any] = MISSING  # _target_ and the fields of that PEFT config
    version: int = 1  # raised when this method's code changes results beyond rounding


@dataclass
class OptimizerConfig:
    """The optimiser and its schedule. Weight decay spares biases and norms."""

    name: str = "adamw"  # adamw | adam | sgd | loko
    lr: float = 1e-3  # the learning rate; loko: the variance of each parameter at the start
    head_lr: float | None = None  # of the head, which is trained beside every adapter; null: lr
    weight_decay: float = (
        0.0  # adamw: decoupled (Loshchilov & Hutter 2019); adam, sgd: added to the gradient; loko: none
    )
    betas: tuple[float, float] = (0.9, 0.999)  # decay of the two moments, of adamw and adam alone
    eps: float = 1e-8  # added to the denominator, of adamw and adam alone
    momentum: float = 0.0  # of sgd alone
    schedule: str = "linear"  # linear | cosine | constant, behind the warm-up
    warmup_ratio: float = 0.06  # the part of the steps in which the rate rises from 0, linearly
    max_grad_norm: float = 1.0  # gradients are clipped to this norm; 0: not clipped
    version: int = 1  # raised when this optimiser's code changes results beyond rounding


@dataclass
class TrainerConfig:
    """How long and how to run."""

    epochs: int = 10  # passes over the training rows
    max_steps: int | None = None  # optimiser steps; ends training earlier than epochs would
    eval_steps: int | None = None  # fewest optimiser steps between two evaluations; null: one after every epoch
    # early stopping: training ends once so many evaluations in a row bring no better primary metric on rows held out
    # (task.validation=holdout or tuning); null: never. The schedule spans the epochs all the same.
    patience: int | None = None
    # of the best epoch, by the same rows, are then the adapter, the predictions and the score that counts
    keep_best: bool = False
    batch_size: int = 32  # training examples of a step, on each device
    micro_batch_size: int | None = None  # gradient accumulation: so many rows at once, their gradients added up
    eval_batch_size: int = (
        128  # examples at once in evaluation; no score depends on it beyond rounding, or else it is refused
    )
    precision: str = "no"  # no | bf16 | fp16
    device: str | None = None  # cpu | cuda | cuda:1 | mps; null: a GPU of CUDA where there is one, or else the CPU
    gradient_checkpointing: bool = False  # keep each layer's input alone, compute the rest again: less memory, slower
    compile: bool = False  # torch.compile the model that trains; evaluation takes it as it is
    cache_prefix: bool = False  # compute what lies before the first trained layer once per example (prefix_cache.py)
    workers: int = 0  # loader processes
    save_seconds: float = 60.0  # between two times of saving the state that an interrupted run goes on from
    progress: bool = True  # show a progress bar
    save_adapter: bool = True  # keep the trained adapter and head beside the record


@dataclass
class TrackingConfig:
    """Where a run is mirrored; only records count."""

    kind: str = "none"  # none | tensorboard | wandb
    project: str = "surm-bench"  # of Weights & Biases
    entity: str | None = None  # team or user of Weights & Biases; null: that of the key


@dataclass
class Config:
    """One run."""

    model: ModelConfig = MISSING
    task: TaskConfig = MISSING
    adapter: AdapterConfig = MISSING
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = 0  # of the start of adapter and head, the order of the rows and dropout; from 0 to 2**32 - 1
    results_dir: str = "results"  # the folder that records are written to, as runs/<id>/record.json
    rerun: bool = False  # run again although a finished record exists

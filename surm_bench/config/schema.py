"""The structured configuration: the type, default and meaning of every key of a run. No torch here."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class ModelConfig:
    """A backbone: its architecture and the source of its weights."""

    name: str = MISSING  # the name in records and tables
    family: str = MISSING  # text | vision
    source: str = MISSING  # hub | package | embedded
    checkpoint: str = MISSING  # hub id, timm architecture, package name or embedded folder
    revision: str | None = None  # pinned revision on the hub
    weights: str | None = None  # a local safetensors file or checkpoint folder, used instead of the source's weights
    image_size: int | None = None  # vision: side of the square image in pixels; null: the checkpoint's own
    # vision: how to make an image square. center: cut off the ends of the longer side | squash: scale both sides to
    # the same length | border: pad the shorter side with the mean colour; null: the checkpoint's own mode, for most
    # checkpoints center
    crop_mode: str | None = None
    # vision: the fraction to keep of the side that crop_mode scales to image_size (center: the shorter, border: the
    # longer, squash: both); the margin around it is cut off. 1: cut off nothing more; null: the checkpoint's own
    crop_pct: float | None = None
    # vision: subtracted from pixels (0 to 1), one value a channel or one for all; null: the checkpoint's own
    mean: list[float] | None = None
    # vision: pixels are then divided by std; mean=[0] and std=[1] leave pixels from 0 to 1; null: the checkpoint's own
    std: list[float] | None = None
    # The required digest of the weights (and, after a dash, of the tokenizer): see surm_bench/content. null: accept any
    # weights and record their digest. The id of a run depends on the digest and not on the location of the weights.
    digest: str | None = None
    # text, a model of --config-dir: the fields of its config.json, kept in the record; null: the architecture of name
    architecture: dict[str, Any] | None = None
    version: int = 1  # raised when a change in how this model is built changes results


@dataclass
class TaskConfig:
    """A data set, its columns and its metric."""

    name: str = MISSING  # the name in records and tables; its last part is the folder of local data
    kind: str = MISSING  # text | image
    source: str = MISSING  # hub | embedded | folder
    dataset: str | None = MISSING  # hub id, or the embedded generator's name; null for a folder, read from data_dir
    subset: str | None = None  # hub configuration, e.g. "rte" of nyu-mll/glue
    revision: str | None = None  # pinned revision on the hub
    train_split: str = "train"  # the split to train on
    # the reported split, never replaced by another split (its other names in a folder: surm_bench/tasks/splits.py);
    # null, for a folder of images: the first existing one of validation, test and val; the record then has its name
    eval_split: str | None = MISSING
    extra_eval_splits: dict[str, str] = field(default_factory=dict)  # name -> split, also reported, as metrics.extra
    inputs: list[str] = MISSING  # the text columns (one, or two as a pair), or the image column
    label: str = "label"  # the column of the labels
    rename: dict[str, str] = field(default_factory=dict)  # column name in the source -> name in inputs or label
    num_labels: int | None = (
        MISSING  # 1 means regression; null for a folder or for class names: counted, and written to the record
    )
    # the classes in order; null: the sorted folder names of images, or the sorted labels of local rows if these are
    # names; the record then has them. Names that YAML reads as another type (no, yes, on, off, null, 1.0) need quotes
    label_names: list[Any] | None = None
    metric: str = MISSING  # configuration of the shipped evaluate module
    primary_metric: str = MISSING  # the key of that metric's result shown in tables
    # metric=f1_accuracy: the positive class of F1, by its name, or by its number if no class has that name; null:
    # class 1, GLUE's positive class (the second of names in alphabetical order). The record then has its name
    positive_class: str | None = None
    # local data: data_dir/<last part of name>/{<train_split>,<eval_split>,<extra split>}.parquet, or .csv, .tsv or
    # .jsonl; with source=folder, images are data_dir/{train,validation|test|val}/<class>/*.png
    data_dir: str | None = None
    # Training on fewer rows; set at most one of these four keys:
    fraction: float | None = None  # fraction of the training rows, above 0, at most 1; classes as equal as sizes allow
    shots: int | None = None  # number of training rows of each class
    max_train_samples: int | None = None  # the first n rows of the shuffled training split
    # VTAB-1k (Zhai et al. 2019, arXiv 1910.04867), for images: 1,000 training rows. validation=dev trains on all 1,000;
    # holdout and tuning hold out 200. Drawn uniformly by subset_seed: not the benchmark's own list of images.
    vtab1k: bool = False
    max_eval_samples: int | None = None  # the first n rows of each reported split, shuffled
    # Seed of the draws above: runs of all seeds have the same subset, and larger subsets contain smaller ones. null:
    # the run's seed draws the training rows, equal for all methods; reported rows are then drawn by seed 0.
    subset_seed: int | None = 0
    # images of more than 8 bits: the value that becomes white (255), such as 4095, or 1 for floats; null: the largest
    # value of the file's format; images of formats without a largest value (32-bit integers, floats) are refused
    white: float | None = None
    augment: str = "none"  # of training images: none | flip | flip_and_shift (surm_bench/tasks/augment.py)
    max_length: int = 128  # text: tokens per example at most
    # The required digests of the training, the reported and the extra splits, joined by dashes; null as model.digest.
    digest: str | None = None
    version: int = 1  # raised when a change in how this task is prepared changes results
    # dev: score only the reported split and choose the best epoch by it | holdout: hold out a part of train, score it
    # too and choose the best epoch by it | tuning: score the held-out part alone. The held-out part is a tenth of
    # train, drawn by the run's seed; if training uses only a subset, it is drawn from the unused rows.
    validation: str = "dev"
    validation_rows: int = 2000  # number of unused rows to hold out, or all there are; same for all runs if possible


@dataclass
class AdapterConfig:
    """A PEFT config by its class and fields, and the roles of the layers it adapts."""

    name: str = MISSING  # the name in records
    label: str = MISSING  # the name in tables
    lr: float = MISSING  # the adapter's usual learning rate, the default of optimizer.lr
    roles: list[str] = field(
        default_factory=list
    )  # roles of surm_bench.adapters.roles to adapt; empty: the method's own layers
    role_fields: dict[str, list[str]] = field(default_factory=dict)  # other fields of the PEFT config that list modules
    first_layer: int = 0  # layers below this one get no adapter (AdapterDrop, arXiv 2010.11918)
    peft: dict[str, Any] = MISSING  # _target_ (the class of the PEFT config) and the fields of the PEFT config
    version: int = 1  # raised when a change of this method's code changes results beyond rounding


@dataclass
class OptimizerConfig:
    """The optimiser and its schedule. Biases and norms have no weight decay."""

    name: str = "adamw"  # adamw | adam | sgd | loko
    lr: float = 1e-3  # the learning rate; loko: the variance of each parameter at the start
    head_lr: float | None = None  # learning rate of the head, which every method trains; null: lr
    weight_decay: float = (
        0.0  # adamw: decoupled (Loshchilov & Hutter 2019); adam, sgd: added to the gradient; loko: none
    )
    betas: tuple[float, float] = (0.9, 0.999)  # adamw and adam only: decay of the two moments
    eps: float = 1e-8  # adamw and adam only: added to the denominator
    momentum: float = 0.0  # sgd only
    schedule: str = "linear"  # linear | cosine | constant, after the warm-up
    warmup_ratio: float = 0.06  # the fraction of the steps in which the learning rate rises linearly from 0
    max_grad_norm: float = 1.0  # gradients are clipped to this norm; 0: no clipping
    version: int = 1  # raised when a change of this optimiser's code changes results beyond rounding


@dataclass
class TrainerConfig:
    """The length of a run and the way it is executed."""

    epochs: int = 10  # passes over the training rows
    max_steps: int | None = None  # most optimiser steps; may end training before the last epoch
    eval_steps: int | None = None  # fewest optimiser steps between two evaluations; null: one after every epoch
    # early stopping: training ends when this many evaluations in a row do not improve the primary metric on the
    # held-out rows (task.validation=holdout or tuning); null: never. The schedule still spans all epochs.
    patience: int | None = None
    # keep the adapter, the predictions and the reported score of the best epoch, chosen on the held-out rows
    keep_best: bool = False
    batch_size: int = 32  # training examples of a step, on each device
    micro_batch_size: int | None = None  # gradient accumulation: rows of each part of a batch; gradients are summed
    eval_batch_size: int = (
        128  # examples at once in evaluation; if scores depend on this size beyond rounding, other sizes are refused
    )
    precision: str = "no"  # no | bf16 | fp16
    device: str | None = None  # cpu | cuda | cuda:1 | mps; null: a CUDA GPU if there is one, otherwise the CPU
    gradient_checkpointing: bool = False  # keep only each layer's input and recompute the rest: less memory, slower
    compile: bool = False  # use torch.compile in training; evaluation uses the plain model
    cache_prefix: bool = False  # compute the layers before the first trained one once per example (prefix_cache.py)
    workers: int = 0  # processes that load data
    save_seconds: float = 60.0  # seconds between two saves of the training state, from which a stopped run continues
    progress: bool = True  # show a progress bar
    save_adapter: bool = True  # keep the trained adapter and head beside the record


@dataclass
class TrackingConfig:
    """An experiment tracker that receives a copy of a run. Results come from records alone."""

    kind: str = "none"  # none | tensorboard | wandb
    project: str = "surm-bench"  # project in Weights & Biases
    entity: str | None = None  # team or user in Weights & Biases; null: the owner of the API key


@dataclass
class Config:
    """The configuration of one run."""

    model: ModelConfig = MISSING
    task: TaskConfig = MISSING
    adapter: AdapterConfig = MISSING
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = 0  # draws initial adapter and head, the order of the rows and dropout; from 0 to 2**32 - 1
    results_dir: str = "results"  # the folder for records, which are written to runs/<id>/record.json in it
    rerun: bool = False  # run again even if a finished record exists

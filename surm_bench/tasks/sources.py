"""Where splits come from: a local folder of parquet files or images, the hub, or a generator of this package."""

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pyarrow
import pyarrow.parquet
from datasets import Dataset, load_dataset

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError, unknown
from surm_bench.hub import hub_access
from surm_bench.tasks.folders import class_names, read_folder, split_folders

GENERATORS = ("digits", "grammar")  # modules of surm_bench.tasks.embedded that have load()


class Split(NamedTuple):
    """A split as it was read, and where from, for error messages."""

    dataset: Dataset
    origin: str


def read_splits(config: TaskConfig) -> list[Split]:
    """The training, the reported and the extra splits, columns renamed. Local data go before the task's own source."""
    if config.source == "folder":
        folders = local_files(config)
        names = class_names(folders[0])
        splits = [Split(read_folder(folder, names), str(folder)) for folder in folders]
    elif config.data_dir is not None:
        splits = [_read_parquet(file) for file in local_files(config)]
    elif config.source == "hub":
        splits = _from_hub(config)
    elif config.source == "embedded":
        splits = _generated(config)
    else:
        raise unknown("task source", config.source, ("hub", "embedded", "folder"))
    return [_renamed(split, config) for split in splits]


def num_labels(config: TaskConfig) -> int:
    """The number of labels: as configured, or the number of classes that a folder of images has.

    Raises:
        UserError: it is not configured and cannot be found, or it is not the folder's.
    """
    if config.source == "folder":
        found = len(class_names(local_files(config)[0]))
        if config.num_labels not in (None, found):
            raise UserError(f"task.num_labels={config.num_labels}, but task.data_dir={config.data_dir} has {found}")
        return found
    if config.num_labels is None:
        raise UserError(f"task.num_labels of {config.name} is null: only for a folder of images is it counted")
    return config.num_labels


def local_files(config: TaskConfig) -> list[Path]:
    """The files, or folders of images, of the training, the reported and the extra splits below ``task.data_dir``.

    Raises:
        UserError: one of them is missing; the message says what is expected where.
    """
    if config.source == "folder":
        paths = split_folders(config)
        expected = f"{paths[0]}/<class>/*.png, and {paths[0].parent}/{{validation,test or val}}/<class>/*.png"
    else:
        paths = _parquet_files(config)
        expected = f"{paths[0]} and {paths[0].parent}/{config.eval_split}.parquet (or validation.parquet)"
    missing = [str(path) for path in paths[:2] if not path.exists()]
    if missing:
        raise UserError(f"task.data_dir={config.data_dir} does not hold {' and '.join(missing)}: expected {expected}")
    for name, path in zip(config.extra_eval_splits, paths[2:], strict=True):
        if not path.exists():
            raise UserError(
                f"task.data_dir={config.data_dir} does not hold {path}, the extra split {name!r} of {config.name}: "
                f"put it there, or do without by '~task.extra_eval_splits.{name}'"
            )
    return paths


def _renamed(split: Split, config: TaskConfig) -> Split:
    names = {old: new for old, new in config.rename.items() if old in split.dataset.column_names}
    return Split(split.dataset.rename_columns(names), split.origin)


def _parquet_files(config: TaskConfig) -> list[Path]:
    folder = Path(config.data_dir).expanduser() / config.name.rpartition("/")[-1]
    train, evaluation = folder / "train.parquet", folder / f"{config.eval_split}.parquet"
    if not evaluation.is_file():  # a folder may simply call its reported split validation (MNLI's has two)
        evaluation = folder / "validation.parquet" if (folder / "validation.parquet").is_file() else evaluation
    return [train, evaluation, *(folder / f"{split}.parquet" for split in config.extra_eval_splits.values())]


def _read_parquet(file: Path) -> Split:
    """Straight into memory: load_dataset would copy the data to a cache first."""
    try:
        table = pyarrow.parquet.read_table(file)
        table.validate(full=True)  # text that is none would be found only where it is used
        return Split(Dataset(table), str(file))
    except Exception as error:  # pyarrow and datasets raise whatever a flipped byte leads them to
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{file} is not a readable parquet file ({reason}): give it anew") from error


def _from_hub(config: TaskConfig) -> list[Split]:
    names = _split_names(config)
    with hub_access(config.dataset):
        splits = load_dataset(config.dataset, config.subset, split=names, revision=config.revision)
    origin = "/".join(filter(None, (config.dataset, config.subset)))
    return [Split(split, f"{origin}, split {name}") for split, name in zip(splits, names, strict=True)]


def _generated(config: TaskConfig) -> list[Split]:
    if config.dataset not in GENERATORS:
        raise unknown("task.dataset of task.source=embedded", config.dataset, GENERATORS)
    generator = import_module(f"surm_bench.tasks.embedded.{config.dataset}")
    splits = generator.load(config.name.rpartition("/")[-1])
    for name in _split_names(config):
        if name not in splits:
            raise unknown(f"split of {config.name}", name, splits)
    return [Split(splits[name], f"{config.name}, split {name}") for name in _split_names(config)]


def _split_names(config: TaskConfig) -> list[str]:
    return [config.train_split, config.eval_split, *config.extra_eval_splits.values()]

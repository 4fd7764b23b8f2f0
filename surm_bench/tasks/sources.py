"""Where splits come from: local files of rows or folders of images, the hub, or a generator of this package."""

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError, unknown
from surm_bench.tasks.folders import class_names, read_folder, split_folders
from surm_bench.tasks.hub_rows import read_rows
from surm_bench.tasks.labels import encoded, names_of
from surm_bench.tasks.tables import find_table, read_table

GENERATORS = ("digits", "grammar")  # modules of surm_bench.tasks.embedded that have load()


class Split(NamedTuple):
    """A split as it was read, and where from, for error messages."""

    dataset: Dataset
    origin: str


def read_splits(config: TaskConfig) -> list[Split]:
    """The training, the reported and the extra splits, columns renamed. Local data go before the task's own source.

    Of local files, labels that are strings become numbers (surm_bench.tasks.labels).
    """
    if config.source == "folder":
        folders = local_files(config)
        names = class_names(folders[0])
        splits = [Split(read_folder(folder, names), str(folder)) for folder in folders]
    elif config.data_dir is not None:
        return _read_tables(config)
    elif config.source == "hub":
        splits = _from_hub(config)
    elif config.source == "embedded":
        splits = _generated(config)
    else:
        raise unknown("task source", config.source, ("hub", "embedded", "folder"))
    return [_renamed(split, config) for split in splits]


def num_labels(config: TaskConfig) -> int:
    """The number of labels: as configured, or how many names there are; raises UserError as ``labels`` does."""
    return labels(config)[1]


def labels(config: TaskConfig) -> tuple[list[str] | None, int]:
    """The names of the classes (label_names) and the number of labels: as configured, or how many names there are.

    Raises:
        UserError: the number is not configured and cannot be found, or is not that of the names.
    """
    names = label_names(config)
    if names is not None:
        if config.num_labels not in (None, len(names)):
            has = f"task.data_dir={config.data_dir} has" if config.label_names is None else "task.label_names has"
            raise UserError(f"task.num_labels={config.num_labels}, but {has} {len(names)}")
        return names, len(names)
    if config.num_labels is None:
        raise UserError(
            f"task.num_labels of {config.name} is null: it is counted only for a folder of images, and for local rows "
            "whose labels are names"
        )
    return None, config.num_labels


def label_names(config: TaskConfig) -> list[str] | None:
    """The names of the classes in order: as configured, or those that local data have; None where labels are numbers.

    Raises:
        UserError: local data are not there, or a folder of images has other classes than are configured.
    """
    if config.source == "folder":
        found = class_names(local_files(config)[0])
        if config.label_names not in (None, found):
            raise UserError(
                f"task.label_names={','.join(config.label_names)}, but task.data_dir={config.data_dir} has "
                f"{','.join(found)}"
            )
        return found
    if config.label_names is not None or config.data_dir is None:
        return config.label_names
    columns = [config.label, *(old for old, new in config.rename.items() if new == config.label)]
    file = local_files(config)[0]
    return names_of(_renamed(Split(read_table(file, columns), str(file)), config).dataset, config)


def local_files(config: TaskConfig) -> list[Path]:
    """The files, or folders of images, of the training, the reported and the extra splits below ``task.data_dir``.

    Raises:
        UserError: one of them is missing; the message says what is expected where.
    """
    if config.source == "folder":
        paths = split_folders(config)
        expected = "<class>/*.png below each" + " (test or val does for validation)" * (
            config.eval_split == "validation"
        )
    else:
        paths = _table_files(config)
        other = " (validation does for the reported one)" if config.eval_split != "validation" else ""
        expected = f".parquet, .csv or .jsonl{other}"
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
    if taken := {*names.values()} & {*split.dataset.column_names} - {*names}:
        raise UserError(f"task.rename names a column of {config.name} {', '.join(taken)}, as another one is named")
    return Split(split.dataset.rename_columns(names), split.origin)


def _table_files(config: TaskConfig) -> list[Path]:
    folder = Path(config.data_dir).expanduser() / config.name.rpartition("/")[-1]
    evaluation, fallback = (find_table(folder, split) for split in (config.eval_split, "validation"))
    if not evaluation.is_file() and fallback.is_file():
        evaluation = fallback  # a folder may simply call its reported split validation (MNLI's has two)
    extra = [find_table(folder, split) for split in config.extra_eval_splits.values()]
    return [find_table(folder, "train"), evaluation, *extra]


def _read_tables(config: TaskConfig) -> list[Split]:
    splits = [_renamed(Split(read_table(file), str(file)), config) for file in local_files(config)]
    names = config.label_names or names_of(splits[0].dataset, config)
    return [Split(encoded(*split, names, config), split.origin) for split in splits]


def _from_hub(config: TaskConfig) -> list[Split]:
    names = _split_names(config)
    origin = "/".join(filter(None, (config.dataset, config.subset)))
    splits = zip(read_rows(config, names), names, strict=True)
    return [Split(rows, f"{origin}, split {name}") for rows, name in splits]


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

"""Reading of splits from their source: local tables, folders of images, the hub, or a generator of this package."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError, unknown
from surm_bench.tasks.folders import class_names, read_folder, split_folders
from surm_bench.tasks.hub_rows import read_rows
from surm_bench.tasks.labels import Split, check_classes, names_of, reconciled
from surm_bench.tasks.splits import data_folder, names_of_split
from surm_bench.tasks.tables import columns_of, find_table, read_table

GENERATORS = ("digits", "grammar")  # modules of surm_bench.tasks.embedded with a load()


def read_splits(config: TaskConfig) -> list[Split]:
    """Read the training, reported and extra splits with the task's columns and class numbers as labels.

    Local data take precedence over the task's own source. A class has the same number in all splits
    (surm_bench.tasks.labels).

    Raises:
        UserError: data are missing or cannot be read, a column is missing or occurs twice, or a split has a label that
            the training split does not have.
    """
    if config.source == "folder":
        folders = local_files(config)
        names = class_names(folders[0])
        splits = [Split(read_folder(folder, names), str(folder)) for folder in folders]
    elif config.data_dir is not None or config.source == "local":
        return reconciled([_read_table(file, _columns(config), config) for file in local_files(config)], config)
    elif config.source == "hub":
        splits = _from_hub(config)
    else:
        splits = _generated(config)
    return reconciled([_renamed(split, config) for split in splits], config)


def completed(config: TaskConfig) -> TaskConfig:
    """Return the task, completed from its data: the names and the number of its classes, and the reported split.

    Raises:
        UserError: local data are missing or have other classes than the configuration, or the number of classes is not
            configured and cannot be counted.
    """
    names = label_names(config)
    count = config.num_labels if names is None else len(names)
    if count is None:
        raise UserError(
            f"task.num_labels of {config.name} is null: give the number of classes; only classes of image folders and "
            "class names in local rows are counted"
        )
    if names is not None:
        check_classes(names, config)
    if config.num_labels not in (None, count):
        has = f"task.data_dir={config.data_dir} has" if config.label_names is None else "task.label_names has"
        raise UserError(f"task.num_labels={config.num_labels}, but {has} {count}")
    split = config.eval_split or local_files(config)[1].name
    return replace(config, label_names=names, num_labels=count, eval_split=split)


def label_names(config: TaskConfig) -> list[str] | None:
    """Return the class names in order, as configured or as found in local data; None if labels are numbers.

    Raises:
        UserError: local data are missing, or a folder of images does not have the configured classes.
    """
    if config.source == "folder":
        names = class_names(local_files(config)[0])
        given = config.label_names and [str(name) for name in config.label_names]
        if given not in (None, names):
            raise UserError(
                f"task.label_names={','.join(given)}, but task.data_dir={config.data_dir} has {','.join(names)}"
            )
        return names
    if config.label_names is not None:
        return [str(name) for name in config.label_names]
    if config.data_dir is None and config.source != "local":
        return None
    return names_of(_read_table(local_files(config)[0], [config.label], config).dataset, config)


def local_files(config: TaskConfig) -> list[Path]:
    """Return the files or image folders below ``task.data_dir`` of the training, reported and extra splits.

    Raises:
        UserError: task.data_dir is not set, or a file or folder is missing; the message says what is expected where.
    """
    if config.source == "folder":
        paths, expected = split_folders(config), "<class>/*.png below each"
    else:
        paths, expected = _table_files(config), ".parquet, .csv, .tsv or .jsonl"
    missing = [str(path) for path in paths[:2] if not path.exists()]
    if missing:
        raise UserError(
            f"task.data_dir={config.data_dir} lacks {' and '.join(missing)}: expected {expected}; "
            f"{_there(paths[0].parent)}"
        )
    for name, path in zip(config.extra_eval_splits, paths[2:], strict=True):
        if not path.exists():
            raise UserError(
                f"task.data_dir={config.data_dir} lacks {path}, the extra split {name!r} of {config.name}: "
                f"add it, or leave the split out with '~task.extra_eval_splits.{name}'"
            )
    return paths


def _columns(config: TaskConfig) -> list[str]:
    return [*config.inputs, config.label]


def _read_table(file: Path, wanted: list[str], config: TaskConfig) -> Split:
    return Split(read_table(file, wanted, config.rename).rows, str(file))


def _renamed(split: Split, config: TaskConfig) -> Split:
    """Return a split with only the task's columns, renamed to the task's names."""
    columns = columns_of(split.dataset.column_names, _columns(config), config.rename, split.origin)
    dataset = split.dataset.select_columns(list(columns.values()))
    return Split(dataset.rename_columns({old: new for new, old in columns.items() if old != new}), split.origin)


def _table_files(config: TaskConfig) -> list[Path]:
    folder = data_folder(config) / config.name.rpartition("/")[-1]
    reported = [find_table(folder, name) for name in names_of_split(config.eval_split)]
    evaluation = next((file for file in reported if file.is_file()), reported[0])
    extra = [find_table(folder, split) for split in config.extra_eval_splits.values()]
    return [find_table(folder, config.train_split), evaluation, *extra]


def _there(folder: Path) -> str:
    """Return the end of an error message: the contents of a folder, and how to name other splits."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not names:
        return f"{folder} {'is empty' if folder.is_dir() else 'does not exist'}"
    some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{folder} has {some}; name other splits with task.eval_split and task.train_split"


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

"""The keys of a task."""

from dataclasses import dataclass
from typing import Any

from surm_bench.config.keys import Group, Part, key
from surm_bench.errors import UserError

SUBSETS = ("fraction", "shots", "max_train_samples", "vtab1k")  # alternatives: each alone sets the training subset
RESERVED = ("reported", "validation")  # every task may have splits of these names


@dataclass
class TaskConfig(Group):
    """A data set, its columns and its metric."""

    group = "task"
    selector = "kind"

    name: str = key("the name in records and tables; its last part is the folder of local data")
    kind: str = key("text | image", part=Part.ALWAYS, choices=("text", "image"))
    source: str = key("hub | embedded | folder | local; with a data_dir, hub and embedded tasks read it instead")
    dataset: str | None = key("hub id, or the embedded generator's name; null for folder and local, read from data_dir")
    subset: str | None = key('hub configuration, e.g. "rte" of nyu-mll/glue', None)
    revision: str | None = key("pinned revision on the hub", None)
    train_split: str = key("the split to train on", "train")
    eval_split: str | None = key(
        "the reported split, never replaced by another split (its other names in a folder: tasks/splits.py); "
        "null, for a folder of images: the first existing one of validation, test and val; the record then has its name"
    )
    extra_eval_splits: dict[str, str] = key("name -> split, also reported, as metrics.extra", {})
    inputs: list[str] = key("the text columns (one, or two as a pair), or the image column")
    label: str = key("the column of the labels", "label")
    rename: dict[str, str] = key("column name in the source -> name in inputs or label", {})
    num_labels: int | None = key(
        "1 means regression; null for a folder or for class names: counted, and written to the record",
        part=Part.ALWAYS,
    )
    label_names: list[Any] | None = key(
        "the classes in order; null: the sorted folder names of images, or the sorted labels of local rows if these "
        "are names; the record then has them. Names that YAML reads as another type (no, yes, on, off, null, 1.0) need "
        "quotes",
        None,
    )
    metric: str = key("configuration of the shipped evaluate module", part=Part.ALWAYS)
    primary_metric: str = key("the key of that metric's result shown in tables", part=Part.ALWAYS)
    positive_class: str | None = key(
        "metric=f1_accuracy: the positive class of F1, by its name, or by its number if no class has that name; null: "
        "class 1, GLUE's positive class (the second of names in alphabetical order). The record then has its name",
        None,
        Part.DERIVED,
    )
    data_dir: str | None = key(
        "local data: data_dir/<last part of name>/{<train_split>,<eval_split>,<extra split>}.parquet, or .csv, .tsv or "
        ".jsonl; with source=folder, images are data_dir/{train,validation|test|val}/<class>/*.png",
        None,
    )
    # Training on fewer rows; set at most one of the four keys of SUBSETS
    fraction: float | None = key(
        "fraction of the training rows; classes as equal as sizes allow", None, Part.UNLESS_DEFAULT, above=0, most=1
    )
    shots: int | None = key("number of training rows of each class", None, Part.UNLESS_DEFAULT, least=1)
    max_train_samples: int | None = key("the first n rows of the shuffled training split", None, Part.UNLESS_DEFAULT)
    vtab1k: bool = key(
        "VTAB-1k (Zhai et al. 2019, arXiv 1910.04867), for images: 1,000 training rows. validation=dev trains on all "
        "1,000; holdout and tuning hold out 200. Drawn uniformly by subset_seed, not the benchmark's list of images",
        False,
        Part.UNLESS_DEFAULT,
        only=("image",),
    )
    max_eval_samples: int | None = key("the first n rows of each reported split, shuffled", None, Part.UNLESS_DEFAULT)
    subset_seed: int | None = key(
        "seed of the draws above: runs of all seeds have the same subset, and larger subsets contain smaller ones. "
        "null: the run's seed draws the training rows, equal for all methods; reported rows are then drawn by seed 0",
        0,
        Part.DERIVED,
        least=0,
    )
    white: float | None = key(
        "images of more than 8 bits: the value that becomes white (255), such as 4095, or 1 for floats; null: the "
        "largest value of the file's format; images of formats without a largest value (32-bit integers, floats) are "
        "refused",
        None,
        Part.UNLESS_DEFAULT,
        only=("image",),
        above=0,
    )
    augment: str = key(
        "of training images: none | flip | flip_and_shift (surm_bench/tasks/augment.py)",
        "none",
        Part.UNLESS_DEFAULT,
        only=("image",),
        choices=("none", "flip", "flip_and_shift"),
    )
    max_length: int = key("text: tokens per example at most", 128, Part.WHERE_READ, only=("text",), least=1)
    digest: str | None = key(
        "the required digests of the training, the reported and the extra splits, joined by dashes; null as "
        "model.digest",
        None,
        Part.ALWAYS,
    )
    version: int = key("raised when a change in how this task is prepared changes results", 1, Part.UNLESS_DEFAULT)
    validation: str = key(
        "dev: score only the reported split and choose the best epoch by it | holdout: hold out a part of train, score "
        "it too and choose the best epoch by it | tuning: score the held-out part alone. The held-out part is a tenth "
        "of train, drawn by the run's seed; if training uses only a subset, it is drawn from the unused rows",
        "dev",
        Part.ALWAYS,
        choices=("dev", "holdout", "tuning"),
    )
    validation_rows: int = key(
        "number of unused rows to hold out, or all if there are fewer; the same for all runs if possible",
        2000,
        Part.DERIVED,
        least=1,
    )

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers and not classes."""
        return self.num_labels == 1

    def check(self) -> None:
        super().check()
        self._check_columns()
        self._check_label_names()
        if self.eval_split is None and self.source != "folder":
            raise UserError(
                f"task.eval_split of {self.name} is null: name the split to score, such as validation or test"
            )
        for name in self.extra_eval_splits:
            if name in RESERVED or not name.isidentifier():
                raise UserError(
                    f"the name {name!r} in task.extra_eval_splits is not possible: use letters, digits and _, and not "
                    f"{' or '.join(RESERVED)}"
                )
        given = [f"task.{name}" for name in SUBSETS if getattr(self, name) not in (None, False)]
        if len(given) > 1:
            choices = ", ".join(f"task.{name}" for name in SUBSETS)
            raise UserError(f"{' and '.join(given)} do not go together: give at most one of {choices}")
        if self.shots is not None and self.is_regression:
            raise UserError(f"task.shots needs classes, but {self.name} is a regression: give task.fraction instead")

    def subset_id(self) -> dict[str, Any]:
        """Return the keys of the subset that belong to the identity of a run.

        These are subset_seed for a run with a subset, and validation_rows for a run that holds out rows which its
        training subset leaves unused.
        """
        draws = any(getattr(self, name) not in (None, False) for name in (*SUBSETS, "max_eval_samples"))
        beside = self.validation != "dev" and any(
            getattr(self, name) is not None for name in ("fraction", "shots", "max_train_samples")
        )
        used = {"subset_seed": draws, "validation_rows": beside}
        return {f"task.{name}": getattr(self, name) for name, is_used in used.items() if is_used}

    def _check_columns(self) -> None:
        """Refuse inputs that a model would ignore or misread: a wrong number of columns, or a column named twice."""
        inputs, most = list(self.inputs), 1 if self.kind == "image" else 2
        if not 1 <= len(inputs) <= most:
            wanted = "one column of images" if most == 1 else "one column of texts, or two as a pair"
            join = "; join other columns in the data" if len(inputs) > most else ""
            raise UserError(f"{self._shown('inputs')} of {self.name} is not possible: give {wanted}{join}")
        if len({*inputs, self.label}) <= len(inputs):
            raise UserError(
                f"{self._shown('inputs')} and {self._shown('label')} name a column twice: name different columns"
            )

    def _check_label_names(self) -> None:
        if self.label_names is None:
            return
        if wrong := [name for name in self.label_names if not isinstance(name, str) and type(name) is not int]:
            raise UserError(
                f"task.label_names holds {wrong[0]!r}, which is not a text (YAML reads no, yes, off, on, null and 1.0 "
                "as something else): put the names in quotes"
            )
        names = [str(name) for name in self.label_names]
        if not 2 <= len(set(names)) == len(names):
            raise UserError(f"task.label_names={','.join(names)} is not possible: give two or more different names")

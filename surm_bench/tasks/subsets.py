"""Which training rows a run sees: row numbers from labels, by seeds, without a look at the data."""

import numpy as np

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError

HOLDOUT_FRACTION = 0.1
VALIDATION_SEED = 26061774  # of the order in which unused rows are taken; no run's subset is drawn by it
VTAB_ROWS, VTAB_TRAIN = 1000, 800


def split_rows(
    labels: np.ndarray, names: list[str], config: TaskConfig, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows to train on, and those kept apart for the choice of an epoch or a rate (None with validation=dev).

    Where a subset is trained on, those kept apart are rows that it leaves unused; otherwise they are a tenth of the
    rows there are, and train lacks them.

    Args:
        labels: of the whole training split, (N,); classes are 0..num_labels-1.
        names: of the classes, for messages.
        seed: the run's. It draws the tenth, and the subset where ``task.subset_seed`` is None. The held-out part of
            VTAB-1k (Zhai et al. 2019, arXiv 1910.04867) belongs to the protocol: the last 200 of its 1,000 images.

    Raises:
        UserError: the split is too small for what is asked.
    """
    classes = labels if config.num_labels > 1 else np.zeros(len(labels), dtype=int)
    rows = _subset(classes, names, config, seed if config.subset_seed is None else config.subset_seed)
    if config.validation == "dev":
        return rows, None
    if config.vtab1k:
        return rows[:VTAB_TRAIN], rows[VTAB_TRAIN:]
    if len(rows) < len(classes):
        return rows, _unused(rows, classes, config)
    held = _tenth(classes[rows], seed)
    if not held.any():
        raise UserError(
            f"task.validation={config.validation} needs more than the {len(rows)} training rows of {config.name}: "
            "a class of two rows at least"
        )
    return rows[~held], rows[held]


def shuffled_head(rows: int, size: int, option: str, seed: int) -> np.ndarray:
    """The first ``size`` rows of a seeded shuffle, so that a larger subset contains a smaller one."""
    if not 1 <= size <= rows:
        raise UserError(f"{option}={size} is outside 1..{rows}, the rows of that split")
    return np.random.default_rng(seed).permutation(rows)[:size]


def balanced_order(classes: np.ndarray, seed: int) -> np.ndarray:
    """All rows, classes taking turns for as long as they have rows; turns and the rows of a class are shuffled.

    Any head of this order holds as many rows of each class as of any other, give or take one, or all there are.
    """
    rng = np.random.default_rng(seed)
    shuffled, values = rng.permutation(len(classes)), rng.permutation(np.unique(classes))
    round_of, turn_of = np.empty_like(shuffled), np.empty_like(shuffled)
    for turn, value in enumerate(values):
        own = shuffled[classes[shuffled] == value]
        round_of[own], turn_of[own] = np.arange(len(own)), turn
    return np.lexsort((turn_of, round_of))


def _subset(classes: np.ndarray, names: list[str], config: TaskConfig, seed: int) -> np.ndarray:
    """The rows that the one option given leaves: balanced ones in their own order, others as they were drawn."""
    if config.vtab1k:
        if len(classes) < VTAB_ROWS:
            raise UserError(f"task.vtab1k needs {VTAB_ROWS} training images: {config.name} has {len(classes)}")
        return shuffled_head(len(classes), VTAB_ROWS, "task.vtab1k", seed)
    if config.max_train_samples is not None:
        return shuffled_head(len(classes), config.max_train_samples, "task.max_train_samples", seed)
    if config.shots is not None:
        return _balanced(classes, _shots_size(classes, names, config), seed)
    if config.fraction is not None:
        return _balanced(classes, _fraction_size(classes, config), seed)
    return np.arange(len(classes))


def _balanced(classes: np.ndarray, size: int, seed: int) -> np.ndarray:
    return np.sort(balanced_order(classes, seed)[:size])


def _shots_size(classes: np.ndarray, names: list[str], config: TaskConfig) -> int:
    sizes = np.bincount(classes, minlength=config.num_labels)
    smallest = sizes.argmin()
    if config.shots > sizes[smallest]:
        raise UserError(
            f"task.shots={config.shots} is more than the {sizes[smallest]} training rows of class "
            f"{names[smallest]!r} of {config.name}, its smallest"
        )
    return config.shots * config.num_labels


def _fraction_size(classes: np.ndarray, config: TaskConfig) -> int:
    rows, needed = len(classes), len(np.unique(classes))
    size = round(config.fraction * rows)
    if size < needed:
        raise UserError(
            f"task.fraction={config.fraction} leaves {size} of {rows} training rows of {config.name}, fewer than one "
            f"of each class: the smallest possible fraction is {needed}/{rows} = {needed / rows:.6g}"
        )
    return size


def _unused(rows: np.ndarray, classes: np.ndarray, config: TaskConfig) -> np.ndarray:
    """Up to ``task.validation_rows`` of the rows that are not trained on, in one order for all subsets and seeds, so
    that they are the same as far as the subsets let them be."""
    order = np.random.default_rng(VALIDATION_SEED).permutation(len(classes))
    held = order[~np.isin(order, rows)][: config.validation_rows]
    needed = len(np.unique(classes))
    if len(held) < needed:
        raise UserError(
            f"task.validation={config.validation} takes rows that are not trained on: here {len(held)} of the "
            f"{len(classes)} training rows of {config.name}, fewer than its {needed} classes; train on less, or raise "
            f"task.validation_rows={config.validation_rows}"
        )
    return held


def _tenth(classes: np.ndarray, seed: int) -> np.ndarray:
    """A mask (rows,): of every class a tenth, and one at least where the class has another to train on."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(classes), dtype=bool)
    for value in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == value))
        held[rows[: max(round(HOLDOUT_FRACTION * len(rows)), int(len(rows) > 1))]] = True
    return held

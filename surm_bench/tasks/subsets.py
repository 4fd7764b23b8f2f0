"""Choice of a run's training rows: row numbers drawn from labels and seeds only, without reading the inputs."""

import numpy as np

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError

HOLDOUT_FRACTION = 0.1
VALIDATION_SEED = 26061774  # orders the unused rows for validation; no run draws its subset with this seed
VTAB_ROWS, VTAB_TRAIN = 1000, 800


def split_rows(
    labels: np.ndarray, names: list[str], config: TaskConfig, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the training rows, and the held-out rows to choose an epoch or learning rate (None with validation=dev).

    If a run trains on a subset, the held-out rows come from the unused rows. Otherwise a tenth of all rows is held out
    and removed from training. VTAB-1k (Zhai et al. 2019, arXiv 1910.04867) fixes its held-out part: the last 200 of
    its 1,000 images.

    Args:
        labels: the labels of the whole training split, (N,); classes are 0..num_labels-1.
        names: the names of the classes, for messages.
        seed: the seed of the run. It draws the held-out tenth, and also the subset if ``task.subset_seed`` is None.

    Raises:
        UserError: the split is too small for the requested subset or held-out rows.
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
            "at least one class must have two rows"
        )
    return rows[~held], rows[held]


def shuffled_head(rows: int, size: int, option: str, seed: int) -> np.ndarray:
    """Return the first ``size`` rows of a seeded shuffle; a larger subset contains every smaller one."""
    if not 1 <= size <= rows:
        raise UserError(f"{option}={size} is outside 1..{rows}, the number of rows of the split")
    return np.random.default_rng(seed).permutation(rows)[:size]


def balanced_order(classes: np.ndarray, seed: int) -> np.ndarray:
    """Return all rows in an order in which classes take turns; the turns and the rows of each class are shuffled.

    Every head of this order is balanced: the counts of two classes differ by at most one, unless a class has no rows
    left.
    """
    rng = np.random.default_rng(seed)
    shuffled, values = rng.permutation(len(classes)), rng.permutation(np.unique(classes))
    round_of, turn_of = np.empty_like(shuffled), np.empty_like(shuffled)
    for turn, value in enumerate(values):
        own = shuffled[classes[shuffled] == value]
        round_of[own], turn_of[own] = np.arange(len(own)), turn
    return np.lexsort((turn_of, round_of))


def _subset(classes: np.ndarray, names: list[str], config: TaskConfig, seed: int) -> np.ndarray:
    """Return the rows of the one subset option that is set: balanced subsets in row order, others in drawn order."""
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
            f"task.shots={config.shots} is more than the {sizes[smallest]} training rows of the smallest class, "
            f"{names[smallest]!r}, of {config.name}"
        )
    return config.shots * config.num_labels


def _fraction_size(classes: np.ndarray, config: TaskConfig) -> int:
    rows, needed = len(classes), len(np.unique(classes))
    size = round(config.fraction * rows)
    if size < needed:
        raise UserError(
            f"task.fraction={config.fraction} keeps {size} of {rows} training rows of {config.name}, fewer than one "
            f"row of each class: the smallest possible fraction is {needed}/{rows} = {needed / rows:.6g}"
        )
    return size


def _unused(rows: np.ndarray, classes: np.ndarray, config: TaskConfig) -> np.ndarray:
    """Return up to ``task.validation_rows`` of the rows not used for training.

    All subsets and seeds take them from one fixed order, so that their held-out rows overlap as much as possible.
    """
    order = np.random.default_rng(VALIDATION_SEED).permutation(len(classes))
    held = order[~np.isin(order, rows)][: config.validation_rows]
    needed = len(np.unique(classes))
    if len(held) < needed:
        raise UserError(
            f"task.validation={config.validation} holds out unused rows, here {len(held)} of the {len(classes)} "
            f"training rows of {config.name}, fewer than its {needed} classes: train on fewer rows, or raise "
            f"task.validation_rows={config.validation_rows}"
        )
    return held


def _tenth(classes: np.ndarray, seed: int) -> np.ndarray:
    """Return a mask (rows,) of a tenth of each class, at least one row if the class has two or more rows."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(classes), dtype=bool)
    for value in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == value))
        held[rows[: max(round(HOLDOUT_FRACTION * len(rows)), int(len(rows) > 1))]] = True
    return held

"""Records that travel: ``records.jsonl``, one line a run, and ``predictions.parquet``, written by one step alone."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from filelock import FileLock

from surm_bench.atomic import atomic
from surm_bench.errors import UserError
from surm_bench.records.archive import COLLECTED, Archive, read_collected
from surm_bench.records.store import canonical_json

PREDICTIONS = "predictions.parquet"


def collect(folder: Path, others: Sequence[Path] = ()) -> tuple[int, list[str]]:
    """Write the results of all finished runs below a folder to its records.jsonl, and their predictions beside it.

    Runs of a tree with changes that no commit has are left out. Locked against other collectors, sorted, atomic.

    Args:
        others: folders of the same experiment from other machines, or their records.jsonl, to be merged.

    Returns:
        How many records there are now, and a line for each that cannot be used or was left out.

    Raises:
        UserError: one of the others does not exist, or holds no record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".collect.lock"):
        archive = Archive(folder)
        problems, found = list(archive.problems), archive.results()
        for other in others:
            merged = _read_other(other, problems)
            if not merged:
                raise UserError(f"{other} holds no records: name a results folder of the experiment or a {COLLECTED}")
            found += merged
        clean = {record["checksum"]: record for record in found if not record["environment"]["git_dirty"]}
        if dropped := sum(bool(record["environment"]["git_dirty"]) for record in found):
            problems.append(f"{dropped} records were made with changes that no commit has: they are not collected")
        kept = sorted(clean.values(), key=lambda record: (record["run_id"], record["created"], record["checksum"]))
        _write_predictions(folder, kept, others)
        with atomic(folder / COLLECTED) as temporary:
            temporary.write_text("".join(f"{canonical_json(record)}\n" for record in kept), encoding="utf-8")
    return len(kept), problems


def read_predictions(folder: Path) -> pd.DataFrame:
    """run_id, split, row, label and prediction of every run that has them, collected or made here."""
    collected = folder / PREDICTIONS
    frames = [pd.read_parquet(collected)] if collected.is_file() else []
    known = set(frames[0]["run_id"]) if frames else set()
    for path in sorted(folder.glob(f"runs/*/{PREDICTIONS}")):
        if path.parent.name not in known:
            frames.append(pd.read_parquet(path).assign(run_id=path.parent.name))
    columns = ["run_id", "split", "row", "label", "prediction"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def _read_other(other: Path, problems: list[str]) -> list[dict]:
    if other.is_dir():
        archive = Archive(other)
        problems += archive.problems
        return archive.results()
    return read_collected(other, problems)


def _write_predictions(folder: Path, records: Sequence[dict], others: Sequence[Path]) -> None:
    """Predictions on the reported splits; those of a tuning run nobody asks for."""
    wanted = {record["run_id"] for record in records if "reported" in record.get("scores", {})}
    frames = [read_predictions(place) for place in (folder, *others) if place.is_dir()]
    frames = [frame[frame["run_id"].isin(wanted)] for frame in frames]
    if not any(len(frame) for frame in frames):
        return
    table = pd.concat(frames).drop_duplicates(["run_id", "split", "row"])
    table = table.sort_values(["run_id", "split", "row"], kind="stable").reset_index(drop=True)
    with atomic(folder / PREDICTIONS) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")

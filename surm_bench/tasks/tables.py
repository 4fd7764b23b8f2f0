"""Local files of rows: parquet, CSV with a header, JSON Lines."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet
from datasets import Dataset

from surm_bench.errors import UserError

FRAMES: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": lambda file: pd.read_csv(file, dtype=str, keep_default_na=False),  # "NA" is a text; no number is guessed
    ".jsonl": lambda file: pd.read_json(file, lines=True, dtype=False, convert_dates=False, precise_float=True),
}
ENDINGS = (".parquet", *FRAMES)


def find_table(folder: Path, split: str) -> Path:
    """The file of a split, the first of ENDINGS that is there; of none the parquet file that is not."""
    files = [folder / f"{split}{ending}" for ending in ENDINGS]
    return next((file for file in files if file.is_file()), files[0])


def read_table(file: Path, columns: Sequence[str] | None = None) -> Dataset:
    """The rows in memory: load_dataset would copy them to a cache first. All that CSV holds are strings.

    Args:
        columns: of parquet only those of these that are there; other files are read whole.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        if file.suffix == ".parquet":
            known = columns and [name for name in pyarrow.parquet.read_schema(file).names if name in columns]
            table = pyarrow.parquet.read_table(file, columns=known)
        else:
            table = pyarrow.Table.from_pandas(FRAMES[file.suffix](file), preserve_index=False)
            table = table.replace_schema_metadata(None)
        table.validate(full=True)  # text that is none would be found only where it is used
        return Dataset(table)
    except Exception as error:  # pyarrow, pandas and datasets raise whatever a flipped byte leads them to
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{file} is not a readable {file.suffix[1:]} file ({reason}): give it anew") from error

"""Make sst2_sentences: SST-2 with 4,000 whole training sentences moved to the split that is scored.

    python scripts/sst2_sentences.py GLUE OUT

GLUE holds sst2/train.parquet and sst2/validation.parquet in GLUE's columns; OUT/sst2_sentences/train.parquet and
validation.parquet are written. SST-2's 872 development sentences are too few to show a difference below two points.
Most of its training rows are phrases of other training rows, so rows cannot simply be held out: whole sentences are
drawn, and every training row that is part of a scored sentence is left out.
"""

import checkout  # noqa: F401  (before the package)

# isort: split
import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from surm_bench.command.errors import exit_code
from surm_bench.errors import UserError
from surm_bench.system.atomic import atomic

HELD_OUT = 4000
Words = tuple[str, ...]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("glue", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    train, validation = (read(given.glue / "sst2" / f"{split}.parquet") for split in ("train", "validation"))
    train, validation = split_by_sentence(train, validation, HELD_OUT)
    for name, frame in (("train", train), ("validation", validation)):
        with atomic(given.out / "sst2_sentences" / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
    print(f"{given.out / 'sst2_sentences'}: {len(train):,} training rows, {len(validation):,} rows to be scored")
    return 0


def read(file: Path) -> pd.DataFrame:
    """Read the sentences and labels of a split."""
    if not file.is_file():
        raise UserError(f"{file} does not exist: name the folder that holds GLUE's sst2 as parquet")
    return pd.read_parquet(file, columns=["sentence", "label"])


def split_by_sentence(
    train: pd.DataFrame, validation: pd.DataFrame, held_out: int, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Move whole sentences from the training split behind the validation split.

    A sentence is a training row that is not a contiguous part of another row.

    Returns:
        The training rows that do not occur in a scored sentence, and the scored rows.
    """
    words = [tuple(sentence.split()) for sentence in train["sentence"]]
    sentences = whole_sentences(words)
    drawn = np.random.default_rng(seed).permutation(len(sentences))[:held_out]
    first = {row: place for place, row in reversed(list(enumerate(words)))}  # of equal rows, the first
    rows = [first[sentences[place]] for place in drawn]
    scored = pd.concat([validation, train.iloc[rows]], ignore_index=True)
    parts = {part for sentence in scored["sentence"] for part in parts_of(tuple(sentence.split()))}
    kept = [row not in parts for row in words]
    return train[kept].reset_index(drop=True), scored


def whole_sentences(rows: Iterable[Words]) -> list[Words]:
    """Return the distinct rows that are not a contiguous part of another row, in alphabetical order."""
    found, parts = [], set()
    for row in sorted(set(rows), key=len, reverse=True):
        if row not in parts:
            found.append(row)
            parts.update(parts_of(row))
    return sorted(found)


def parts_of(row: Words) -> Iterable[Words]:
    """Yield every contiguous part of a row, the row itself among them."""
    for first in range(len(row)):
        for end in range(first + 1, len(row) + 1):
            yield row[first:end]


if __name__ == "__main__":
    sys.exit(exit_code(main, sys.argv[1:]))

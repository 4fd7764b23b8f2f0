"""Tasks in a generated English-like language, with the columns and metrics of CoLA, SST-2, RTE, MRPC and STS-B.

Each task has a module that generates its examples. This module draws the splits, which are always identical.
"""

import random
from functools import cache

from datasets import ClassLabel, Dataset, Features, Value

from surm_bench.errors import unknown
from surm_bench.tasks.embedded import acceptability, entailment, paraphrase, sentiment, similarity

TASKS = {
    "acceptability": (acceptability.example, ["unacceptable", "acceptable"]),
    "sentiment": (sentiment.example, ["negative", "positive"]),
    "entailment": (entailment.example, ["entailment", "not_entailment"]),
    "paraphrase": (paraphrase.example, ["not_equivalent", "equivalent"]),
    "similarity": (similarity.example, None),
}
SIZES = {"validation": 500, "train": 2000}
SEED = 0


@cache
def load(name: str) -> dict[str, Dataset]:
    """Return the splits ``train`` (2,000 rows) and ``validation`` (500): balanced labels, no sentence repeated.

    Columns: ``sentence`` or ``sentence1`` and ``sentence2``, and ``label`` (ClassLabel; 0.0-5.0 for similarity).

    Raises:
        UserError: no task has this name.
    """
    if name not in TASKS:
        raise unknown("grammar task", name, TASKS)
    example, classes = TASKS[name]
    label = ClassLabel(names=classes) if classes else Value("float32")
    splits, seen = {}, set()
    for split, size in SIZES.items():
        # A string seeds through SHA-512, so the draw does not depend on Python's hash randomisation.
        rows = draw(example, random.Random(f"{name}/{split}/{SEED}"), size, seen)
        columns = {column: Value("string") for column in rows[0] if column != "label"}
        splits[split] = Dataset.from_list(rows, features=Features({**columns, "label": label}))
    return splits


def draw(example, rng: random.Random, size: int, seen: set[str]) -> list[dict]:
    """Draw ``size`` examples, half of each label, in random order, skipping sentences in ``seen``."""
    rows = []
    while len(rows) < size:
        row = example(rng, len(rows) % 2)
        sentences = texts(row)
        if len(set(sentences)) == len(sentences) and seen.isdisjoint(sentences):
            seen.update(sentences)
            rows.append(row)
    rng.shuffle(rows)
    return rows


def texts(row: dict) -> list[str]:
    return [text for column, text in row.items() if column != "label"]

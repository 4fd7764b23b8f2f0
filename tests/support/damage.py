"""Files that a benchmark reads, with a byte flipped: what is read must be what was written, or a line must say so."""

import logging
import random
import shutil
import string
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from support.made_up import committed
from support.runs import folder_of, start

from surm_bench import records
from surm_bench.config.composition import resolved
from surm_bench.errors import UserError
from surm_bench.models.digest import model_digest
from surm_bench.models.weights import EMBEDDED
from surm_bench.run.build import build
from surm_bench.run.loading import load_run
from surm_bench.tasks import TaskReader, load_task
from surm_bench.tasks.embedded import grammar
from surm_bench.training import Checkpoint

ADAPTER = "adapter/adapter_model.safetensors"
TEXT = ["model=roberta_tiny", "task=grammar/acceptability"]
IMAGES = ["model=vit_digits", "task=digits"]


@dataclass
class Case:
    """A file, and how it is read: what comes of it, with the lines that say what is wrong."""

    file: Path
    read: Callable[[], tuple[object, list[str]]]


def flips(content: bytes, number: int, seed: int = 0) -> Iterator[tuple[int, bytes]]:
    """Positions and contents with one bit flipped: so many of each class of bytes, of the first and of the last ones.

    Classes: digits, letters, each sign of punctuation, white space, and what is no ASCII.
    """
    rng, classes = random.Random(seed), defaultdict(list)
    for position, byte in enumerate(content):
        classes[_class(byte)].append(position)
    classes["first"], classes["last"] = list(range(8)), list(range(len(content) - 8, len(content)))
    for positions in classes.values():
        for position in rng.sample(positions, min(number, len(positions))):
            flipped = bytearray(content)
            flipped[position] ^= 1 << rng.randrange(8)
            yield position, bytes(flipped)


def outcomes(case: Case, number: int) -> dict[str, list[str]]:
    """What came of the flips: "the same", "one line", "another result", "no line" or "traceback".

    One line: each record that cannot be used has one (a line break that is lost makes two of them one), which names the
    file or its folder.
    """
    whole, wanted = case.file.read_bytes(), case.read()[0]
    found: dict[str, list[str]] = defaultdict(list)
    for position, flipped in flips(whole, number):
        case.file.write_bytes(flipped)
        outcome, why = _outcome(case, wanted)
        found[outcome].append(f"byte {position}: {why}")
    case.file.write_bytes(whole)
    assert _same(case.read()[0], wanted), "reading changed the file"
    return dict(found)


def _outcome(case: Case, wanted: object) -> tuple[str, str]:
    try:
        read, lines = case.read()
    except UserError as error:
        read, lines = None, [str(error)]
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    if read is not None and _same(read, wanted):
        return "the same", ""
    if read is not None:
        return "another result", str(read)
    named = [line for line in lines if "\n" not in line and str(case.file.parent) in line]
    return "one line" if lines and named == lines else "no line", " | ".join(lines)


def _class(byte: int) -> str:
    sign = chr(byte)
    kinds = {"digit": string.digits, "letter": string.ascii_letters, "space": string.whitespace}
    return next(
        (name for name, signs in kinds.items() if sign in signs), sign if sign in string.punctuation else "other"
    )


def _same(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return one == other if not hasattr(one, "equals") else one.equals(other)


def warned(read: Callable[[], object]) -> tuple[object, list[str]]:
    """What it returns, with the warnings that it logs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda line: lines.append(line.getMessage())
    logger = logging.getLogger("surm_bench")
    logger.addHandler(handler)
    try:
        return read(), lines
    finally:
        logger.removeHandler(handler)


def cases(folder: Path) -> dict[str, Case]:
    """Every kind of file, made by short runs below this folder."""
    record = start(folder / "a", *IMAGES, "adapter=lora")
    record = records.write(committed(record), folder / "a")
    run = folder_of(folder / "a", record)
    shutil.copytree(folder / "a", folder / "collected")
    records.collect(folder / "collected")
    shutil.rmtree(folder / "collected" / "runs")

    def archive(results: Path) -> tuple[object, list[str]]:
        found = records.Archive(results)
        return (found.records() or None), found.problems

    def predictions(results: Path) -> tuple[object, list[str]]:
        found = records.Archive(results)
        read, problems = records.read_predictions(found)
        return (read if len(read) else None), found.problems + problems

    def trained() -> tuple[object, list[str]]:
        return load_run(run)[0].state_dict(), []

    state = Checkpoint(folder / "state", "code")
    state.write({"step": 3, "loss": 0.25, "parameters": {"a": torch.arange(400) / 7, "b": torch.ones(3)}})

    return {
        "record": Case(run / "record.json", lambda: archive(folder / "a")),
        "collected records": Case(folder / "collected" / "records.jsonl", lambda: archive(folder / "collected")),
        "adapter": Case(run / ADAPTER, trained),
        "adapter's configuration": Case(run / "adapter" / "adapter_config.json", trained),
        "places": Case(run / "places.json", trained),
        "predictions": Case(run / "predictions.parquet", lambda: predictions(folder / "a")),
        "collected predictions": Case(
            folder / "collected" / "predictions.parquet", lambda: predictions(folder / "collected")
        ),
        "state": Case(state.file, lambda: warned(state.read)),
        **_contents(folder),
    }


def _contents(folder: Path) -> dict[str, Case]:
    """Weights, tokenizer and data, which declare what they are."""
    text, vit, data = folder / "roberta", folder / "vit", folder / "data"
    shutil.copytree(EMBEDDED / "roberta_tiny", text)
    shutil.copytree(EMBEDDED / "vit_digits", vit)
    (data / "acceptability").mkdir(parents=True)
    for split, rows in grammar.load("acceptability").items():
        rows.to_parquet(data / "acceptability" / f"{split}.parquet")

    def backbone(overrides: list[str], path: Path) -> Callable[[], tuple[object, list[str]]]:
        config = resolved([*overrides, "adapter=lora"])
        config = config.having(model={"digest": model_digest(config.model), "weights": str(path)})

        def read() -> tuple[object, list[str]]:
            built, task = build(config)
            return {"weights": built.module.state_dict(), "example": dict(task.train[0])}, []

        return read

    task = resolved(TEXT).task
    task = replace(task, digest=TaskReader(task).digest, data_dir=str(data))

    def rows() -> tuple[object, list[str]]:
        return load_task(task, 0).train[:], []

    return {
        "weights of text": Case(text / "model.safetensors", backbone(TEXT, text)),
        "weights of images": Case(vit / "model.safetensors", backbone(IMAGES, vit)),
        "tokenizer": Case(text / "tokenizer.json", backbone(TEXT, text)),
        "data": Case(data / "acceptability" / "train.parquet", rows),
    }

"""Save and load the state of a training run: a safetensors file of the tensors, with all other values as JSON in its
header.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from surm_bench.content.fields import fields_digest
from surm_bench.system.atomic import token

TENSOR = "tensor file key"  # {TENSOR: name} in the JSON stands for the tensor of this name
PAUSE = 50  # shortest pause before the next save, in durations of a save: saving takes at most 2 % of the time

logger = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """The saved state of a run, and how often to save.

    Args:
        folder: a folder for this run alone.
        code: a digest of the training code; a state saved by other code is not continued.
        seconds: seconds between two saves; more if a save takes longer than a fiftieth of this time.
        about: facts about this process for History.segments, as JSON values.
        check: called before each save; its exceptions end the training and leave the saved state unchanged.
    """

    folder: Path
    code: str
    seconds: float = 60.0
    about: dict[str, Any] = field(default_factory=dict)
    check: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.file = Path(self.folder) / "state.safetensors"
        self._due = time.monotonic() + self.seconds

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() >= self._due

    def write(self, state: dict) -> None:
        """Replace the saved state. ``state`` has dicts with string keys, lists, numbers, strings and tensors."""
        began = time.monotonic()
        self.check()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_name(f".{self.file.name}.{token()}")
        rest, tensors = pack(state)
        text = json.dumps(rest)
        save_file(tensors, temporary, metadata={"code": self.code, "state": text, "digest": _digest(text, tensors)})
        with temporary.open("rb") as written:  # before renaming, so that a power cut leaves a complete file
            os.fsync(written.fileno())
        temporary.replace(self.file)
        now = time.monotonic()
        self._due = now + max(self.seconds, PAUSE * (now - began))

    def read(self) -> dict | None:
        """Return the saved state, or None. One warning reports a damaged state or a state saved by other code."""
        try:
            with safe_open(self.file, "pt") as file:
                metadata = file.metadata() or {}
                if metadata["code"] != self.code:
                    logger.warning("%s was saved by other code: training starts from the beginning", self.file)
                    return None
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            if metadata["digest"] != _digest(metadata["state"], tensors):
                raise ValueError("its digest does not match its content")
            return unpack(json.loads(metadata["state"]), tensors.__getitem__)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            logger.warning("%s cannot be read (%s): training starts from the beginning", self.file, reason)
            return None

    def clear(self) -> None:
        """Remove the saved state. A recorded run does not need it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def pack(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return the state with names in place of its tensors, and the tensors by name."""
    tensors: dict[str, Tensor] = {}

    def convert(value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            tensors[name] = value.detach().cpu().contiguous()
            return {TENSOR: name}
        if isinstance(value, dict):
            return {key: convert(inner, f"{name}/{key}") for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [convert(inner, f"{name}/{index}") for index, inner in enumerate(value)]
        return value

    return convert(state, ""), tensors


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    """Return a digest of a whole state. Without it, a flipped bit of a tensor would be read as another number."""
    numbers = (tensor.reshape(-1).view(torch.uint8).numpy().data for _, tensor in sorted(tensors.items()))
    return fields_digest(
        [text.encode(), *(f"{n} {t.dtype} {list(t.shape)}".encode() for n, t in sorted(tensors.items())), *numbers]
    )


def unpack(rest: Any, tensor: Callable[[str], Tensor]) -> Any:
    """Put the tensors back into a packed state. Tuples come back as lists, and all keys as strings."""
    if isinstance(rest, dict):
        if rest.keys() == {TENSOR}:
            return tensor(rest[TENSOR])
        return {key: unpack(inner, tensor) for key, inner in rest.items()}
    if isinstance(rest, list):
        return [unpack(inner, tensor) for inner in rest]
    return rest

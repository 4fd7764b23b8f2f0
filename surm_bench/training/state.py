"""The state of a training run on disk: one safetensors file, whose header holds all that is no tensor as JSON."""

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

from surm_bench.atomic import token
from surm_bench.content.fields import fields_digest

TENSOR = "tensor file key"  # {TENSOR: name} stands in the JSON where the tensor of that name was
PAUSE = 50  # times as long as saving took: no more than 2 % of the time goes into it

logger = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """Where a run keeps its state, and how often.

    Args:
        folder: of this run alone.
        code: a digest of the code that trains; a state of other code is not continued.
        seconds: between two times of saving; longer where saving takes more than a fiftieth of that.
        about: what History.segments says of this process; as JSON has it.
        check: called before each time; what it raises ends the training, and the state stays as it was.
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
        """Replace the saved state: dicts with string keys, lists, numbers, strings and tensors."""
        began = time.monotonic()
        self.check()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_name(f".{self.file.name}.{token()}")
        rest, tensors = pack(state)
        text = json.dumps(rest)
        save_file(tensors, temporary, metadata={"code": self.code, "state": text, "digest": _digest(text, tensors)})
        with temporary.open("rb") as written:  # on the disk before it has the name: even a power cut leaves a whole one
            os.fsync(written.fileno())
        temporary.replace(self.file)
        now = time.monotonic()
        self._due = now + max(self.seconds, PAUSE * (now - began))

    def read(self) -> dict | None:
        """The saved state; None if there is none, or none that this code can continue, which one line says."""
        try:
            with safe_open(self.file, "pt") as file:
                metadata = file.metadata() or {}
                if metadata["code"] != self.code:
                    logger.warning("%s is a state of other code: training starts anew", self.file)
                    return None
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            if metadata["digest"] != _digest(metadata["state"], tensors):
                raise ValueError("its digest does not fit")
            return unpack(json.loads(metadata["state"]), tensors.__getitem__)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            logger.warning("%s cannot be read (%s): training starts anew", self.file, str(error).partition("\n")[0])
            return None

    def clear(self) -> None:
        """Remove what was saved; a run that is recorded has no use for it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def pack(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """The same without its tensors, and these by name."""
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
    """Of all that a state has: safetensors alone would read a flipped bit of a tensor as another number."""
    numbers = (tensor.reshape(-1).view(torch.uint8).numpy().data for _, tensor in sorted(tensors.items()))
    return fields_digest(
        [text.encode(), *(f"{n} {t.dtype} {list(t.shape)}".encode() for n, t in sorted(tensors.items())), *numbers]
    )


def unpack(rest: Any, tensor: Callable[[str], Tensor]) -> Any:
    """The reverse; keys are strings then, and tuples lists."""
    if isinstance(rest, dict):
        if rest.keys() == {TENSOR}:
            return tensor(rest[TENSOR])
        return {key: unpack(inner, tensor) for key, inner in rest.items()}
    if isinstance(rest, list):
        return [unpack(inner, tensor) for inner in rest]
    return rest

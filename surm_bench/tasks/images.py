"""A data set of images; if memory allows, each image is decoded and resized only once."""

from collections.abc import Callable, Sequence
from mmap import mmap

import torch
from datasets import Dataset as Rows
from datasets import Image as Column
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset

from surm_bench.config import TaskConfig
from surm_bench.content import image_name, read_image
from surm_bench.tasks.check import labels_of
from surm_bench.tasks.notices import tell

LONG = 2  # the centre crop keeps half of an image whose long side is this many times its short side


class Images(Dataset):
    """A data set of examples {"x": float (C, H, W), "labels": int}, transformed on access.

    Args:
        processor: PIL image -> float tensor; ``keep`` needs its two steps ``pixels`` and ``normalise``.
        split: the name of the split, for messages.
        places: the row number of each example in the split as read, (N,), for messages; None: 0, 1, 2, ...
    """

    def __init__(
        self,
        rows: Rows,
        processor: Callable,
        config: TaskConfig,
        split: str = "train",
        places: Sequence[int] | None = None,
    ) -> None:
        self.processor, self.white = processor, config.white
        self.crops = getattr(processor, "crops", False)
        self.image, self.labels = config.inputs[0], labels_of(rows, config).tolist()
        self.rows = rows.cast_column(self.image, Column(decode=False))
        self.origin, self.places = f"the {split} split of {config.name}", places
        self.kept: Tensor | None = None

    def keep(self) -> None:
        """Start to keep the pixels (uint8) of every image that is decoded."""
        shape = self._pixels(0).shape
        # Memory pages cost nothing until they are written, and forked loader processes share the written pages.
        self.kept = _shared(len(self), *shape)
        self.known = _shared(len(self))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        x = self.processor(self._decoded(index)) if self.kept is None else self.processor.normalise(self._kept(index))
        return {"x": x, "labels": self.labels[index]}

    def _kept(self, index: int) -> Tensor:
        if not self.known[index]:
            self.kept[index] = self._pixels(index)
            self.known[index] = 1
        return self.kept[index]

    def _pixels(self, index: int) -> Tensor:
        return self.processor.pixels(self._decoded(index))

    def _decoded(self, index: int) -> Image:
        stored = self.rows[index][self.image]
        place = index if self.places is None else self.places[index]
        image = read_image(stored, image_name(stored, place, self.origin), self.white)
        if self.crops and max(image.size) >= LONG * min(image.size):
            tell(
                f"{self.origin}: half or more of some images is cut off, because one side is at least {LONG} times the "
                "other: model.crop_mode=squash or border keeps whole images"
            )
        return image


def _shared(*shape: int) -> Tensor:
    """Return zeros, uint8, in memory that forked processes share."""
    size = torch.Size(shape)
    return torch.frombuffer(mmap(-1, size.numel()), dtype=torch.uint8).view(size)

"""Random augmentations of training images, drawn anew for each batch from a separate random generator."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

PADDING = 8  # shift an image by up to 1/8 of its side; for CIFAR that is the usual 4 of 32 pixels


def flip(x: Tensor, generator: Generator) -> Tensor:
    """Mirror each image of a batch (B, C, H, W) left to right with probability 0.5."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator).to(x.device) < 0.5
    return torch.where(mirrored, x.flip(-1), x)


def flip_and_shift(x: Tensor, generator: Generator) -> Tensor:
    """Flip the images as in ``flip`` and shift each one in both directions; mirrored pixels fill the border."""
    x, side = flip(x, generator), x.shape[-1]
    reach = side // PADDING
    wide = pad(x, (reach,) * 4, mode="reflect")
    offsets = torch.randint(2 * reach + 1, (len(x), 2), generator=generator).tolist()
    return torch.stack([image[:, i : i + side, j : j + side] for image, (i, j) in zip(wide, offsets, strict=True)])


AUGMENTATIONS: dict[str, Callable[[Tensor, Generator], Tensor] | None] = {
    "none": None,
    "flip": flip,
    "flip_and_shift": flip_and_shift,
}

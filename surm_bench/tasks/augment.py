"""Random changes of training images, drawn anew for each batch by a generator of its own."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

PADDING = 8  # an image is shifted by up to an eighth of its side, as CIFAR's usual 4 of 32 pixels


def flip(x: Tensor, generator: Generator) -> Tensor:
    """Mirror each image of (B, C, H, W) left to right, or not, with equal chance."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator).to(x.device) < 0.5
    return torch.where(mirrored, x.flip(-1), x)


def flip_and_shift(x: Tensor, generator: Generator) -> Tensor:
    """The same, and move each image in both directions; what comes in at the border is its mirror image."""
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

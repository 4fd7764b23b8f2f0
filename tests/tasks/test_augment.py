"""Random flips and shifts of images: what they may do, by hand, and that their place in the run alone decides."""

import numpy as np
import pytest
import torch

from surm_bench.tasks.augment import AUGMENTATIONS, flip, flip_and_shift


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_flip_is_the_image_or_its_mirror_image_about_half_the_time():
    x = torch.randn(400, 3, 8, 8)
    flipped = flip(x, generator())
    kept = (flipped == x).flatten(1).all(1)
    mirrored = torch.from_numpy(np.flip(x.numpy(), -1).copy())
    assert torch.equal(flipped[~kept], mirrored[~kept])
    assert 160 < kept.sum() < 240  # four standard deviations of a fair coin


def test_a_shift_is_a_window_of_the_image_with_mirrored_borders():
    x = torch.arange(2 * 1 * 16 * 16, dtype=torch.float32).view(2, 1, 16, 16)
    shifted = flip_and_shift(x, generator(3))
    for image, found in zip(x[:, 0].numpy(), shifted[:, 0].numpy(), strict=True):
        windows = [
            np.pad(side, 2, mode="reflect")[i : i + 16, j : j + 16]
            for side in (image, image[:, ::-1])
            for i in range(5)
            for j in range(5)
        ]
        assert any(np.array_equal(found, window) for window in windows)


def test_shifts_reach_every_offset():
    x = torch.arange(16.0).expand(1, 1, 16, 16).repeat(3000, 1, 1, 1)
    shifted = flip_and_shift(x, generator())
    firsts = {row[0, 8, :2].int().tolist()[0] for row in shifted}
    assert {0, 1, 2} <= firsts  # of unflipped images, shifted to one side; the other side is the mirrored 15, 14, 13
    assert {13, 14, 15} <= firsts


@pytest.mark.parametrize("name", ["flip", "flip_and_shift"])
def test_the_generator_alone_decides(name):
    x, augment = torch.randn(16, 3, 8, 8), AUGMENTATIONS[name]
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    assert torch.equal(augment(x, generator(1)), augment(x, generator(1)))
    assert not torch.equal(augment(x, generator(1)), augment(x, generator(2)))
    assert torch.equal(before, torch.random.get_rng_state())

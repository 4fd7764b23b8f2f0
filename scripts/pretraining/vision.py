"""Pretraining of vit_digits, a ViT for 8x8 images, as a classifier of glyphs (letters and signs, no digits)."""

import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from pretraining import glyphs

KWARGS = {
    "img_size": 8,
    "patch_size": 2,
    "in_chans": 1,
    "num_classes": 0,
    "embed_dim": 64,
    "depth": 4,
    "num_heads": 4,
    "mlp_ratio": 2.0,
}
MEAN, STD = 0.30, 0.35
GLYPHS, HELD_OUT = 60_000, 2_000
BATCH, LEARNING_RATE, WARMUP = 128, 2e-3, 0.1


README = """# vit_digits

A timm VisionTransformer for 8x8 grey images (4 blocks, width 64, {size:,} parameters), pretrained to tell {classes}
classes of glyphs apart: letters and signs in matplotlib's fonts, distorted at random
(`scripts/pretraining/glyphs.py`). It has never seen a digit, printed or written.

    OMP_NUM_THREADS=1 python scripts/pretrain_embedded.py vit_digits --steps {steps} --seed {seed}

{steps:,} steps of 128 out of 60,000 glyphs, {seconds:,.0f} s on one CPU thread. Accuracy on 2,000 unseen glyphs:
{accuracy:.1%} (chance {chance:.1%}).
"""


def pretrain(folder: Path, steps: int, seed: int) -> None:
    """Train and evaluate the model; write the checkpoint folder (config, weights without the classifier, README)."""
    torch.manual_seed(seed)
    images, labels = draw_glyphs(GLYPHS + HELD_OUT, seed)
    model = torch.nn.Sequential(VisionTransformer(**KWARGS), torch.nn.Linear(KWARGS["embed_dim"], len(glyphs.CLASSES)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARMUP)
    start = time.perf_counter()
    for _ in track(range(steps), f"{folder.name}: {steps} steps"):
        chosen = torch.randint(GLYPHS, (BATCH,))
        torch.nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        accuracy = (model(images[GLYPHS:]).argmax(-1) == labels[GLYPHS:]).double().mean().item()
    vit = model[0]
    config = {"architecture": "VisionTransformer", "kwargs": KWARGS, "mean": [MEAN], "std": [STD]}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(vit.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    facts = {"steps": steps, "seed": seed, "seconds": seconds, "accuracy": accuracy}
    size, classes = sum(p.numel() for p in vit.parameters()), len(glyphs.CLASSES)
    (folder / "README.md").write_text(README.format(size=size, classes=classes, chance=1 / classes, **facts))


def draw_glyphs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw normalised glyph images (count, 1, 8, 8) and their class numbers (count,)."""
    rng = random.Random(f"glyphs/{seed}")
    drawn = [glyphs.draw(rng) for _ in track(range(count), f"drawing {count} glyphs")]
    pixels = torch.from_numpy(np.stack([image for image, _ in drawn])).float() / 255
    return ((pixels - MEAN) / STD).unsqueeze(1), torch.tensor([label for _, label in drawn])

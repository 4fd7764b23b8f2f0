"""SURM on a timm model in 40 lines.

A ViT gets a Kronecker weight delta. Its fused qkv layer is split first, so that q and v are layers. Here it is tiny,
with random weights; a real one is `timm.create_model("vit_base_patch16_224", pretrained=True)`.
"""

from surm_bench.adapters import SurmConfig  # before timm and peft
from surm_bench.models import fuse_qkv, split_qkv

# isort: split
import timm
import torch
from peft import get_peft_model


def accuracy(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.no_grad():
        return (model.eval()(images).argmax(-1) == labels).float().mean().item()


def main(steps: int = 60) -> tuple[float, float]:
    """Train on horizontal and vertical stripes; returns the accuracy of the adapted and of the merged model."""
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=32, depth=2, num_heads=2, num_classes=2)
    split_qkv(vit)
    model = get_peft_model(vit, SurmConfig(structure="kronecker", modules_to_save=["head"]))
    labels, stripes = torch.arange(128) % 2, (torch.arange(32) % 2).expand(32, 32) * 1.0
    images = torch.stack([stripes if label else stripes.T for label in labels])[:, None] + torch.randn(128, 3, 32, 32)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    adapted = accuracy(model, images, labels)
    merged = model.merge_and_unload()
    fuse_qkv(merged)  # timm's own layers and state_dict
    return adapted, accuracy(merged, images, labels)


if __name__ == "__main__":
    print("accuracy, adapted and merged: {:.2f}, {:.2f}".format(*main()))

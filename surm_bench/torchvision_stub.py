"""Let torchvision import beside a CPU-only torch.

PyPI's torchvision for Linux is a CUDA build. Its operator library does not load without CUDA, and torchvision then
dies while it registers shape functions for two operators that nobody declared. Importing this module declares them
(declaration only: no implementation, so calling one still fails loudly). Every module that imports timm, peft,
transformers or evaluate imports this one first.
"""

import importlib.metadata

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _is_cuda_build(distribution: str = "torchvision") -> bool:
    """PyPI's Linux wheels are the CUDA build and say so in version.py only; other CPU builds end in '+cpu'."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return False
    return any("+cu" in file.read_text() for file in files if str(file) == "torchvision/version.py")


if torch.version.cuda is None and _is_cuda_build():
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for _schema in SCHEMAS:
        if not hasattr(torch.ops.torchvision, _schema.partition("(")[0]):
            _library.define(_schema)

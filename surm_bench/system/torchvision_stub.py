"""Make it possible to import torchvision beside a CPU-only torch.

PyPI's torchvision for Linux is a CUDA build. Its operator library does not load without CUDA. The import of torchvision
then fails when it registers shape functions for two operators that were never declared. Importing this module declares
these operators without implementing them, so a call of one still raises an error. It is imported before timm,
peft, transformers and evaluate: by the packages of the modules that use them, or by these modules.
"""

import importlib.metadata

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _is_cuda_build(distribution: str = "torchvision") -> bool:
    """Whether torchvision is a CUDA build. Only version.py in PyPI's Linux wheels tells; CPU versions end in '+cpu'."""
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

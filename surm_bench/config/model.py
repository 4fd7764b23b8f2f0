"""The keys of a model."""

from dataclasses import dataclass
from typing import Any

from surm_bench.config.keys import Group, InId, key
from surm_bench.errors import UserError


@dataclass
class ModelConfig(Group):
    """A backbone: its architecture and the source of its weights."""

    group = "model"
    selector = "family"

    name: str = key("the name in records and tables", in_id=InId.DERIVED)
    family: str = key("text | vision", in_id=InId.DERIVED, choices=("text", "vision"))
    source: str = key(
        "where weights are. hub: the Hugging Face hub | package: an installed Python package | embedded: this package",
        in_id=InId.DERIVED,
        choices=("hub", "package", "embedded"),
    )
    checkpoint: str = key("hub id, timm architecture, package name or embedded folder", in_id=InId.DERIVED)
    revision: str | None = key("pinned revision on the hub", None)
    weights: str | None = key(
        "a local safetensors file or checkpoint folder, used instead of the source's weights", None
    )
    image_size: int | None = key(
        "vision: side of the square image in pixels; null: the checkpoint's own",
        None,
        InId.UNLESS_DEFAULT,
        only=("vision",),
        least=1,
    )
    crop_mode: str | None = key(
        "vision: how to make an image square. center: cut off the ends of the longer side | squash: scale both sides "
        "to the same length | border: pad the shorter side with the mean colour; null: the checkpoint's own mode, for "
        "most checkpoints center",
        None,
        InId.UNLESS_DEFAULT,
        only=("vision",),
        choices=("center", "squash", "border"),  # the crop modes of timm
    )
    crop_pct: float | None = key(
        "vision: the fraction to keep of the side that crop_mode scales to image_size (center: the shorter, border: "
        "the longer, squash: both); the margin around it is cut off. 1: cut off nothing more; null: the checkpoint's "
        "own",
        None,
        InId.UNLESS_DEFAULT,
        only=("vision",),
        least=0.1,
        most=1,
    )
    mean: list[float] | None = key(
        "vision: subtracted from pixels (0 to 1), a value for each channel or one for all; null: the checkpoint's own",
        None,
        InId.UNLESS_DEFAULT,
        only=("vision",),
    )
    std: list[float] | None = key(
        "vision: pixels are then divided by std; mean=[0] and std=[1] leave pixels from 0 to 1; null: the checkpoint's "
        "own",
        None,
        InId.UNLESS_DEFAULT,
        only=("vision",),
        above=0,
    )
    digest: str | None = key(
        "the required digest of the weights (and, after a dash, of the tokenizer). null: accept any weights and record "
        "their digest. The id of a run depends on the digest and not on the location of the weights",
        None,
        InId.ALWAYS,
    )
    architecture: dict[str, Any] | None = key(
        "text, a model of --config-dir: the fields of its config.json, kept in the record; null: the architecture of "
        "name",
        None,
        InId.DERIVED,
    )
    version: int = key("raised when a change in how this model is built changes results", 1, InId.UNLESS_DEFAULT)

    def check(self) -> None:
        super().check()
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is not None and len(values) not in (1, 3):
                raise UserError(f"{self._shown(name)} is not possible: give a number for each channel, or one for all")

    def architecture_id(self) -> Any:
        """Return what the identity of a run contains as the architecture."""
        by_checkpoint = self.family == "vision" or self.source == "embedded"
        return self.architecture or (self.checkpoint if by_checkpoint else self.name)

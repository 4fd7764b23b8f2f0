"""Export of a model for other libraries: merged weights for transformers or timm, or a PEFT adapter; with a card."""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
import json
import shutil
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor, nn

from surm_bench.config.places import with_places
from surm_bench.errors import UserError
from surm_bench.models.families import family_of
from surm_bench.records import Record
from surm_bench.records.files import ADAPTER
from surm_bench.run.loading import load_model
from surm_bench.system.atomic import atomic_folder
from surm_bench.trained.model_card import base_model, model_card, named_base
from surm_bench.training import forward

TOLERANCE = 1e-3  # largest change of logits by merging, relative to the largest logit; fp32 rounding is far below


def export_merged(run: Path, record: Record, folder: Path) -> None:
    """Write the model with its adapters merged into the weights; transformers or timm load it without PEFT.

    Raises:
        UserError: the adapter cannot be merged, the merged model's logits differ, or weights are missing.
    """
    model, backbone, config = load_model(run)
    family = family_of(config.model)
    merged = merge(model, family.random_inputs(backbone.module, backbone.processor), config.adapter.label)
    with atomic_folder(folder) as temporary:
        family.save(merged, config.model, temporary, backbone.processor, config.task.label_names)
        _write_card(record, run, temporary, family.LIBRARY)


def export_adapter(run: Path, record: Record, folder: Path) -> None:
    """Write the adapter as saved by the run, but replace the base model's path by its name on the hub or its digest."""
    with atomic_folder(folder) as temporary:
        for name in ADAPTER:
            shutil.copy(run / name, temporary)
        file = temporary / Path(ADAPTER[1]).name
        fields = json.loads(file.read_text(encoding="utf-8"))
        model = with_places(record.config, run).model
        revision = None if base_model(model) is None else model.revision
        fields |= {"base_model_name_or_path": named_base(model), "revision": revision}
        file.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
        _write_card(record, run, temporary, "peft")


@torch.no_grad()
def merge(model: PeftModel, inputs: dict[str, Tensor], label: str) -> nn.Module:
    """Merge the adapters into the backbone's weights and return the backbone; ``model`` must not be used afterwards.

    Args:
        inputs: a batch for which the merged model must give the logits of the adapted model.
        label: the label of the adapter, for messages.

    Raises:
        UserError: the adapter changes something other than weights, or the logits differ by more than TOLERANCE.
    """
    before = forward(model, inputs)
    if not hasattr(model.base_model, "merge_and_unload"):  # prompts: PEFT does not wrap the backbone
        raise _unmergeable(label, "it does not change weights")
    try:
        merged = model.merge_and_unload().eval()
    except (NotImplementedError, ValueError, AttributeError) as error:
        raise _unmergeable(label, str(error).partition("\n")[0]) from error
    difference = (forward(merged, inputs) - before).abs().max() / before.abs().max()
    if not difference <= TOLERANCE:
        raise _unmergeable(label, f"merging changes the logits by {difference:.2g} of the largest logit")
    return merged


def _unmergeable(label: str, reason: str) -> UserError:
    return UserError(f"{label} cannot be merged into weights ({reason}): export it with --adapter")


def _write_card(record: Record, run: Path, folder: Path, library: str) -> None:
    (folder / "README.md").write_text(model_card(record, run, library), encoding="utf-8")

"""What a run starts from: the checked data, the pretrained backbone, and the adapter in it."""

import surm_bench.torchvision_stub  # noqa: F401

# isort: split
from accelerate.utils import set_seed
from peft import PeftModel

from surm_bench.adapters.build import attach
from surm_bench.config import Config
from surm_bench.models import Backbone, build_backbone
from surm_bench.models.checkpointing import checkpoint_layers
from surm_bench.models.digest import check_model
from surm_bench.tasks import RawTask, TaskData, load_task, objective_for, prepare


def build(settings: Config) -> tuple[Backbone, TaskData]:
    """The pretrained backbone with the head that this seed draws, and the task prepared for it.

    Raises:
        UserError: data or weights are missing, or are not those whose digest the configuration declares.
    """
    raw = load_task(settings.task, settings.seed)
    backbone = build_model(settings)
    return backbone, prepared(raw, backbone, settings)


def prepared(raw: RawTask, backbone: Backbone, settings: Config) -> TaskData:
    """The task as the backbone takes it, with room for the tokens that prompts and prefixes put before a text."""
    return prepare(raw, backbone.processor, settings.adapter.peft.get("num_virtual_tokens") or 0)


def adapt(backbone: Backbone, settings: Config) -> PeftModel:
    """The backbone with the adapter of the configuration, checkpointed if trainer.gradient_checkpointing is set."""
    model = attach(backbone.module, backbone.roles, settings.adapter)
    if settings.trainer.gradient_checkpointing:
        checkpoint_layers(model)
    return model


def build_model(settings: Config) -> Backbone:
    """The same backbone without the data.

    Raises:
        UserError: weights are missing, or are not those whose digest the configuration declares.
    """
    set_seed(settings.seed)
    check_model(settings.model)
    return build_backbone(settings.model, settings.task.num_labels, objective_for(settings.task).model_class)

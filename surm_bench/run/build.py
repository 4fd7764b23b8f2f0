"""Build the starting point of a run: checked data, the pretrained backbone and the adapter in the backbone."""

from accelerate.utils import set_seed
from peft import PeftModel

from surm_bench.adapters.build import attach
from surm_bench.config import Config
from surm_bench.models import Backbone, build_backbone
from surm_bench.models.checkpointing import checkpoint_layers
from surm_bench.models.digest import check_model
from surm_bench.tasks import RawTask, TaskData, TaskReader, prepare, select_rows


def build(config: Config, reader: TaskReader | None = None) -> tuple[Backbone, TaskData]:
    """Return the pretrained backbone, with a head drawn by the seed, and the task prepared for this backbone.

    Args:
        reader: the reader of the task, if it has been read.

    Raises:
        UserError: data or weights are missing, or do not match the digest that the configuration declares.
    """
    raw = select_rows(reader or TaskReader(config.task), config.seed)
    backbone = build_model(config)
    return backbone, prepared(raw, backbone, config)


def prepared(raw: RawTask, backbone: Backbone, config: Config) -> TaskData:
    """Return the task as inputs of the backbone. Texts leave room for the virtual tokens of prompts and prefixes."""
    return prepare(raw, backbone.processor, config.adapter.peft.get("num_virtual_tokens") or 0)


def adapt(backbone: Backbone, config: Config) -> PeftModel:
    """Attach the configured adapter to the backbone, with gradient checkpointing if the trainer asks for it."""
    model = attach(backbone.module, backbone.roles, config.adapter)
    if config.trainer.gradient_checkpointing:
        checkpoint_layers(model)
    return model


def build_model(config: Config) -> Backbone:
    """Return the backbone that ``build`` returns, without loading the data.

    Raises:
        UserError: weights are missing, or do not match the digest that the configuration declares.
    """
    set_seed(config.seed)
    check_model(config.model)
    return build_backbone(config.model, config.task.num_labels)

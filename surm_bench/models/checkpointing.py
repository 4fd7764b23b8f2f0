"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): memory for time, as timm and transformers do it."""

from peft import PeftModel
from timm.models.vision_transformer import VisionTransformer

from surm_bench.errors import UserError


def checkpoint_layers(model: PeftModel) -> None:
    """In training keep each layer's input alone; the backward pass computes the layer again, dropout included.

    Raises:
        UserError: the adapter hands each layer keys and values, which the second computation would not get.
    """
    if model.active_peft_config.is_prompt_learning:
        raise UserError(
            "trainer.gradient_checkpointing=true is not possible with prefix tuning: a layer that is computed again "
            "does not get the prefix"
        )
    base = model.get_base_model()
    if isinstance(base, VisionTransformer):
        base.set_grad_checkpointing()
    else:
        base.activation_checkpointing_enable({"use_reentrant": False})
        base.disable_input_require_grads()  # which send gradients through frozen first layers

"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): less memory, more time, by timm and transformers."""

from peft import PeftModel
from transformers import PreTrainedModel

from surm_bench.errors import UserError


def checkpoint_layers(model: PeftModel) -> None:
    """Keep only each layer's input in training; the backward pass computes the layer again, including its dropout.

    Raises:
        UserError: the adapter passes keys and values to each layer; the second computation would not get them.
    """
    if model.active_peft_config.is_prompt_learning:
        raise UserError(
            "trainer.gradient_checkpointing=true is not possible with prefix tuning, because a layer that is computed "
            "again does not get the prefix: leave it out"
        )
    base = model.get_base_model()
    if isinstance(base, PreTrainedModel):
        base.activation_checkpointing_enable({"use_reentrant": False})
        base.disable_input_require_grads()  # these hooks send gradients through frozen first layers
    else:
        base.set_grad_checkpointing()

"""A model cut before its first trained part; the frozen prefix gives equal hidden states in every epoch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from timm.layers import DropPath, PatchDropout
from timm.models import checkpoint_seq
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from transformers import BertForSequenceClassification, RobertaForSequenceClassification
from transformers.masking_utils import create_bidirectional_mask

from surm_bench.adapters.roles import layer_of
from surm_bench.errors import UserError

DROPOUTS = {nn.Dropout: "p", DropPath: "drop_prob", PatchDropout: "prob"}  # and the field with the probability


class Suffix(nn.Module, ABC):
    """The part of a model behind the frozen prefix, as a model that takes the prefix's hidden states.

    A suffix holds the whole model, so training the suffix trains the model. The model is saved as if it had been
    trained without a cut.

    Attributes:
        first: the index of the first trained layer; None if only the head is trained.
    """

    def __init__(self, model: PeftModel, first: int | None) -> None:
        super().__init__()
        self.model, self.first = model, first

    @property
    def base(self) -> nn.Module:
        """The backbone, including the adapters."""
        return self.model.get_base_model()

    @abstractmethod
    def modules_behind(self) -> list[nn.Module]:
        """Return the modules behind the cut, in order."""

    @abstractmethod
    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return logits (B, num_labels) of hidden states (B, T, d); T is 1 if only the head is trained."""

    @torch.no_grad()
    def prefix(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the hidden states (B, T, d) that the first module behind the cut needs."""

        def stop(_: nn.Module, arguments: tuple) -> None:
            raise _Reached(arguments[0])

        hook = self.modules_behind()[0].register_forward_pre_hook(stop)
        try:
            self.model(**inputs)
        except _Reached as reached:
            return self._needed(reached.hidden)
        finally:
            hook.remove()

    @abstractmethod
    def _needed(self, hidden: Tensor) -> Tensor:
        """Return all hidden states, or only the states that the head reads if only the head is trained."""


class VisionSuffix(Suffix):
    """The suffix of timm's VisionTransformer, whose head reads the pooled features."""

    def modules_behind(self) -> list[nn.Module]:
        vit = self.base
        if self.first is None:
            return [vit.head]
        pool = [] if vit.attn_pool is None else [vit.attn_pool]
        return [*vit.blocks[self.first :], vit.norm, *pool, vit.fc_norm, vit.head_drop, vit.head]

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        vit = self.base
        if self.first is None:
            return vit.head(hidden[:, 0])
        blocks = vit.blocks[self.first :]
        hidden = checkpoint_seq(blocks, hidden) if vit.grad_checkpointing else blocks(hidden)
        return vit.forward_head(vit.norm(hidden))

    def _needed(self, hidden: Tensor) -> Tensor:
        return hidden[:, None] if self.first is None else hidden


class TextSuffix(Suffix):
    """The suffix of BERT and RoBERTa. The head reads the first token; RoBERTa has its pooler in the classifier."""

    def modules_behind(self) -> list[nn.Module]:
        encoder = self.base.base_model
        layers = [] if self.first is None else encoder.encoder.layer[self.first :]
        pooler = [] if encoder.pooler is None else [encoder.pooler, self.base.dropout]
        return [*layers, *pooler, self.base.classifier]

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        encoder = self.base.base_model
        if self.first is not None:
            mask = create_bidirectional_mask(encoder.config, hidden, attention_mask)
            for layer in encoder.encoder.layer[self.first :]:
                hidden = layer(hidden, mask)
        if encoder.pooler is not None:
            hidden = self.base.dropout(encoder.pooler(hidden))
        return self.base.classifier(hidden)

    def _needed(self, hidden: Tensor) -> Tensor:
        return hidden[:, :1] if self.first is None else hidden


SUFFIXES = {
    VisionTransformer: VisionSuffix,
    BertForSequenceClassification: TextSuffix,
    RobertaForSequenceClassification: TextSuffix,
}


def cut(model: PeftModel) -> Suffix:
    """Cut a model before the first layer with an adapter, or before the head if no layer has an adapter.

    Raises:
        UserError: the model is of another family; the adapter trains something in or before the first layer, or, as
            prefix tuning, acts in every layer; or the prefix has dropout in training, so that its hidden states differ
            in every pass.
    """
    base = model.get_base_model()
    if model.active_peft_config.is_prompt_learning:
        raise UserError(
            "no frozen prefix can be cached: this adapter acts from the first layer on; leave out trainer.cache_prefix"
        )
    suffix_of = next((suffix for kind, suffix in SUFFIXES.items() if isinstance(base, kind)), None)
    if suffix_of is None:
        known = ", ".join(kind.__name__ for kind in SUFFIXES)
        raise UserError(f"trainer.cache_prefix is not possible with a {type(base).__name__}: choose from {known}")
    touched = {name: module for name, module in base.named_modules() if isinstance(module, BaseTunerLayer)}
    touched |= {name: parameter for name, parameter in base.named_parameters() if parameter.requires_grad}
    suffix = suffix_of(model, min((layer_of(name) for name in touched if layer_of(name) is not None), default=None))
    behind = {id(inner) for part in suffix.modules_behind() for inner in (*part.modules(), *part.parameters())}
    before = [name for name, part in touched.items() if suffix.first == 0 or id(part) not in behind]
    if before:
        raise UserError(
            f"no frozen prefix can be cached: this adapter trains {before[0]}, in the first layer or before it; "
            "give a later adapter.first_layer, choose adapter=linear_probe, or leave out trainer.cache_prefix"
        )
    _check_dropout({name: module for name, module in base.named_modules() if id(module) not in behind})
    return suffix


def _check_dropout(prefix: dict[str, nn.Module]) -> None:
    dropped = [
        f"{name} with p={getattr(module, field):g}"
        for name, module in prefix.items()
        for kind, field in DROPOUTS.items()
        if isinstance(module, kind) and getattr(module, field) > 0
    ]
    if dropped:
        others = f" and {len(dropped) - 1} more" if len(dropped) > 1 else ""
        raise UserError(
            f"the frozen prefix cannot be cached: it has dropout in training ({dropped[0]}{others}), so its hidden "
            "states change in every pass; leave out trainer.cache_prefix"
        )


class _Reached(Exception):  # noqa: N818  (not an error: it stops a forward pass at the end of the prefix)
    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden

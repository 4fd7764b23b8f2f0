"""Train a subset of the backbone's own parameters in place: full fine-tuning, BitFit, LayerNorm tuning, linear probing.

Nothing is copied, so memory and parameter counts are those of the method. For this reason a model can have only one
such adapter, and this adapter cannot be disabled.
"""

from dataclasses import dataclass, field
from typing import Any

from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import PeftType
from peft.utils.constants import DUMMY_TARGET_MODULES
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from surm_bench.adapters.register import register
from surm_bench.adapters.tuner import Tuner
from surm_bench.errors import UserError, unknown

SELECTIONS = ("all", "bias", "none")


@dataclass
class SubsetConfig(PeftConfig):
    """The choice of the backbone's own parameters to train. The parameters of modules_to_save are trained in addition.

    parameters="all" is full fine-tuning, or LayerNorm tuning when target_modules names the norms (Qi et al., 2022);
    "bias" is BitFit (Ben Zaken et al., 2021); "none" is linear probing.
    """

    parameters: str = field(default="all", metadata={"help": "all, bias or none"})
    target_modules: list[str] | None = field(default=None, metadata={"help": "only in these, matched by their end"})
    modules_to_save: list[str] | None = field(default=None, metadata={"help": "modules trained in full, as the head"})

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PeftType.SUBSET
        if self.parameters not in SELECTIONS:
            raise unknown("selection of parameters", self.parameters, SELECTIONS)
        self.target_modules = self.target_modules or DUMMY_TARGET_MODULES  # PEFT injects nothing and needs no match


class SubsetModel(Tuner):
    """PEFT's model class of the method; made by ``get_peft_model(model, SubsetConfig(...))``."""

    prefix = "subset_"
    tuner_layer_cls = BaseTunerLayer

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        if len(self.peft_config) > 1:
            del self.peft_config[adapter_name]
            raise UserError("a subset of the backbone is trained in place: a second adapter beside it is not possible")
        config = self.peft_config[adapter_name]
        if config.parameters != "none" and not selected(model, config):
            raise UserError(
                f"target_modules={config.target_modules} with parameters={config.parameters!r} matches no parameter"
            )
        super().inject_adapter(model, adapter_name, *args, **kwargs)

    def _create_and_replace(self, *args: Any, **kwargs: Any) -> None:
        """Replace nothing: the parameters are trained in place."""

    def _mark_only_adapters_as_trainable(self, model: nn.Module) -> None:
        for parameter in model.parameters():
            parameter.requires_grad = False
        for config in self.peft_config.values():
            for parameter in selected(model, config).values():
                parameter.requires_grad = not config.inference_mode

    def disable_adapter_layers(self) -> None:
        """Raise UserError, because the pretrained values are lost once training has begun."""
        raise UserError("a subset of the backbone is trained in place and cannot be disabled: load the model again")

    def delete_adapter(self, adapter_name: str) -> None:
        """Raise UserError, because the pretrained values are lost once training has begun."""
        raise UserError("a subset of the backbone is trained in place and cannot be deleted: load the model again")

    def unload(self) -> None:
        """Raise UserError, because the pretrained values are lost once training has begun."""
        raise UserError(
            "a subset of the backbone is trained in place and cannot be unloaded: load the model again, or call "
            "merge_and_unload(), which keeps what was trained"
        )

    @classmethod
    def _get_adapter_state_dict(
        cls, model: nn.Module, config: SubsetConfig, adapter_name: str, state_dict: dict[str, Tensor], **_: Any
    ) -> dict[str, Tensor]:
        # The names in state_dict, which FSDP's wrappers do not change.
        names = {name.replace("_fsdp_wrapped_module.", "") for name in selected(model, config)}
        return {name: tensor for name, tensor in state_dict.items() if name in names}


def selected(model: nn.Module, config: SubsetConfig) -> dict[str, nn.Parameter]:
    """Return the parameters that the config trains in place, by name. The head, wrapped by PEFT, is not included."""
    wrapped = tuple(f"{n}." for n, m in model.named_modules() if isinstance(m, AuxiliaryTrainingWrapper))
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if not name.startswith(wrapped) and _wanted(name, config)
    }


def _wanted(name: str, config: SubsetConfig) -> bool:
    module, _, leaf = name.rpartition(".")
    inside = config.target_modules == DUMMY_TARGET_MODULES or any(
        module == target or module.endswith(f".{target}") for target in config.target_modules
    )
    return inside and {"all": True, "bias": leaf == "bias", "none": False}[config.parameters]


register("subset", SubsetConfig, SubsetModel)

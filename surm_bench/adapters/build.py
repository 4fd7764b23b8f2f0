"""Build a model with an adapter from the adapter's configuration, for our methods and for PEFT's."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from peft import PeftConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from surm_bench.adapters.roles import from_layer, select
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.config import AdapterConfig
from surm_bench.errors import UserError


def peft_config(config: AdapterConfig, roles: dict[str, list[str]]) -> PeftConfig:
    """Return the PEFT config, with the layers of the wanted roles as targets and the head among the modules to save.

    Raises:
        UserError: a role is unknown, the model does not have the first layer, the first layer has no effect because
            the method has no roles, or the PEFT config refuses a field or value.
    """
    kept = from_layer(roles, config.first_layer)
    fields: dict[str, Any] = {**config.peft, "modules_to_save": roles["head"]}
    fields |= {name: select(kept, wanted) for name, wanted in config.role_fields.items()}
    if config.roles:
        fields["target_modules"] = select(kept, config.roles)
    try:
        made = instantiate(fields, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise UserError(f"adapter {config.name!r}: {cause}".replace("\n", " ")) from None
    if getattr(made, "target_modules", None) is None and isinstance(made, TunerConfig):
        made.target_modules = select(kept, made.default_roles())
    elif config.first_layer and not config.roles:
        raise UserError(
            f"adapter {config.name!r} has no roles: first_layer={config.first_layer} has no effect without them"
        )
    return made


def attach(module: nn.Module, roles: dict[str, list[str]], config: AdapterConfig) -> PeftModel:
    """Wrap the backbone in place. Afterwards only its head and the adapter require gradients.

    Raises:
        UserError: peft_config refuses the configuration, the method refuses a value (LoRA's r=0), or the method adds
            prompt tokens and the backbone is not a text model.
    """
    wrapped_config = peft_config(config, roles)
    if wrapped_config.is_prompt_learning and not isinstance(module, PreTrainedModel):
        raise UserError(f"adapter {config.name!r} adds prompt tokens: it needs a text model")
    try:
        with without_known_warnings():
            return get_peft_model(module, wrapped_config)
    except UserError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: torch cannot allocate memory
        raise UserError(f"adapter {config.name!r}: {error}".partition("\n")[0]) from error


@contextmanager
def without_known_warnings() -> Iterator[None]:
    """Hide two irrelevant warnings while PEFT wraps a model or loads an adapter."""
    with warnings.catch_warnings():
        # peft 0.21 reads an attribute of transformers 5 by its old name
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        # BOFT's CUDA extension matters only with several butterfly factors; another warning tells if PEFT sets one
        warnings.filterwarnings("ignore", "Failed to load the CUDA extension", UserWarning)
        yield

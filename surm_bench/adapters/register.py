"""Register our methods with PEFT."""

import sys
from typing import Any

import peft
from aenum import extend_enum
from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import PeftType, register_peft_method

from surm_bench.adapters.tuner import LayerTuner
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.adapters.tuner_layer import TunerLayer


def register_method(name: str, config_cls: type[TunerConfig], layer_cls: type[TunerLayer]) -> None:
    """Make a PEFT method of a config and of the class of its layers.

    PEFT needs a layer class and a model class for each method. Both are made here: ``LoraFixConfig`` of method
    ``lora_fix`` gets ``LoraFixLayer``, which holds adapters in ``lora_fix_delta``, and ``LoraFixModel``, whose prefix
    is ``lora_fix_``.
    """

    def made(ending: str, base: type, **attributes: Any) -> type:
        title = config_cls.__name__.removesuffix("Config") + ending
        cls = type(title, (base,), {"__module__": config_cls.__module__, "__doc__": base.__doc__, **attributes})
        setattr(sys.modules[config_cls.__module__], title, cls)  # where pickle looks for it
        return cls

    layer = made("Layer", layer_cls, adapter_layer_names=(f"{name}_{layer_cls.content}",))
    config_cls.method = name
    register(name, config_cls, made("Model", LayerTuner, prefix=f"{name}_", tuner_layer_cls=layer))


def register(name: str, config_cls: type[PeftConfig], model_cls: type[BaseTuner]) -> None:
    """Register a method with PEFT under PeftType.<NAME>; safe to call again.

    Raises:
        RuntimeError: PEFT has another method of the same name.
    """
    if name.upper() not in PeftType.__members__:
        extend_enum(PeftType, name.upper(), name.upper())
        register_peft_method(name=name, config_cls=config_cls, model_cls=model_cls)
        return
    known = PEFT_TYPE_TO_CONFIG_MAPPING.get(PeftType[name.upper()], PeftConfig)
    if (known.__module__, known.__qualname__) != (config_cls.__module__, config_cls.__qualname__):
        raise RuntimeError(f"PEFT {peft.__version__} has a method {name!r} of its own: surm_bench needs an older one")

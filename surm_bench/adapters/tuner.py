"""Base classes of our tuners: the common fields of configs, and code that finds layers and wraps them."""

import re
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import peft
import torch
from aenum import extend_enum
from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import PeftType, register_peft_method
from torch import Tensor, nn

from surm_bench.adapters.base_layer import check_mergeable, kind, takes_weight_alone
from surm_bench.adapters.targets import check_linear, check_targets, is_target, role_targets
from surm_bench.errors import UserError


@dataclass
class TunerConfig(PeftConfig):
    """Fields common to all our methods that wrap Linear layers. PEFT itself reads these fields too."""

    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "names of Linear layers (matched by their end) or a regular expression; "
                                        "None: the method's usual roles on a backbone of surm_bench.adapters.roles"}
    )  # fmt: skip
    exclude_modules: list[str] | str | None = field(default=None, metadata={"help": "layers to leave out"})
    layers_to_transform: list[int] | int | None = field(default=None, metadata={"help": "only these layer indices"})
    layers_pattern: list[str] | str | None = field(default=None, metadata={"help": "name of the layer stack"})
    modules_to_save: list[str] | None = field(default=None, metadata={"help": "modules trained in full, as the head"})

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.target_modules, str) and (self.layers_to_transform, self.layers_pattern) != (None, None):
            raise UserError(
                f"layers_to_transform and layers_pattern choose among names: target_modules={self.target_modules!r} is "
                "a regular expression, which has to name the layers itself"
            )

    def default_roles(self) -> tuple[str, ...]:
        """Return the roles that are adapted when target_modules is None."""
        raise NotImplementedError


class TunerLayer(nn.Module, BaseTunerLayer):
    """A layer with adapters of one method around it.

    Subclasses define update_layer and adapter_layer_names. adapter_layer_names contains the name of the one attribute
    that holds the adapters; this name begins with the method's prefix.
    """

    merged_parameters: tuple[str, ...] = ()  # the base layer's parameters that merging changes

    def __init__(self, base_layer: nn.Module):
        super().__init__()
        self.base_layer = base_layer
        setattr(self, self.adapter_layer_names[0], nn.ModuleDict())
        self._disable_adapters = False
        self.merged_adapters = []

    @property
    def adapters(self) -> nn.ModuleDict:
        """The adapters of this layer, by their names."""
        return getattr(self, self.adapter_layer_names[0])

    @abstractmethod
    def update_layer(self, adapter_name: str, config: TunerConfig) -> None:
        """Add the adapter, or replace an existing adapter of the same name."""

    def add(self, adapter_name: str, adapter: nn.Module, config: TunerConfig) -> None:
        """Store, cast and activate a new adapter. update_layer calls this method after building the adapter."""
        base = next(self.get_base_layer().parameters(), None)  # a norm may have none
        if base is not None and not any(p.is_meta for p in adapter.parameters()):  # low_cpu_mem_usage: no values yet
            adapter = adapter.to(base.device)
        self.adapters[adapter_name] = adapter
        self.cast(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def cast(self, adapter_name: str, widen: bool = True) -> None:
        """Cast an adapter to fp32 (fp64 if the base layer is fp64); with widen=False, to the base layer's precision."""
        dtype = next(self.get_base_layer().parameters(), torch.empty(0)).dtype
        if widen and dtype != torch.float64:
            dtype = torch.float32
        if dtype.is_floating_point:  # False for quantised weights
            self.adapters[adapter_name].to(dtype)

    def active(self) -> list[str]:
        """Return the active adapters that this layer has."""
        return [name for name in self.active_adapters if name in self.adapters]

    def __repr__(self) -> str:
        return f"{self.adapter_layer_names[0].rpartition('_')[0]}." + super().__repr__()


class Unmergeable(TunerLayer):
    """A layer whose adapters cannot be merged, because they are not equivalent to a change of a weight."""

    merged_parameters = ()

    def answered(self, y: Tensor, x: Tensor) -> Tensor:
        """Return y plus the outputs of the active adapters for x."""
        for name in [] if self.disable_adapters else self.active():
            y = self.adapters[name].added(y, x)
        return y

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Always raise NotImplementedError."""
        raise NotImplementedError("this adapter cannot be merged into a weight: keep it, or unload() it")

    def unmerge(self) -> None:
        """Do nothing, because nothing is ever merged."""


class LinearTunerLayer(TunerLayer):
    """A Linear layer with adapters of one method around it."""

    merged_parameters = ("weight",)

    def __init__(self, base_layer: nn.Linear):
        super().__init__(base_layer)
        self.in_features = base_layer.in_features
        self.out_features = base_layer.out_features


class Tuner(BaseTuner):
    """PEFT's BaseTuner with our own defaults."""

    target_module_mapping: ClassVar = {}  # roles decide instead

    def schedule(self) -> Any:
        """Return the active adapter's training hooks (surm_bench.training.Hooks), or None if its method needs none."""
        return None

    def add_weighted_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Raise UserError: only PEFT's LoRA and (IA)³ support this method."""
        raise UserError(
            f"add_weighted_adapter() is not possible with {type(self).__name__}: make several adapters active at once, "
            "base_model.set_adapter([...]), and they add up"
        )

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Refuse the arguments by which LoRA applies different adapters to the rows of a batch.

        Without this check PEFT would silently ignore these arguments.
        """
        for name in ("adapter_names", "alora_offsets"):
            if kwargs.get(name) is not None:
                raise UserError(
                    f"{name}={kwargs[name]!r} is not possible with {type(self).__name__}: one batch takes the active "
                    "adapters; choose them by set_adapter(), or none by disable_adapter()"
                )
        yield

    def _check_merge_allowed(self) -> None:
        """Check all layers before any layer is merged.

        Raises:
            UserError: the output of a layer would not follow from its merged weight, or another module shares the
                layer's weight.
        """
        super()._check_merge_allowed()
        places = defaultdict(list)
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            places[id(parameter)].append(name.replace(".base_layer", ""))
        for name, layer in tuner_layers(self.model).items():
            if not layer.merged_parameters:
                continue
            base = layer.get_base_layer()
            check_mergeable(base, name)
            for key in layer.merged_parameters:
                others = [n for n in places[id(getattr(base, key))] if n != f"{name}.{key}"]
                if others:
                    raise UserError(
                        f"adapters cannot be merged into {name}: its {key} is also {others[0]}, which would change "
                        f"with it; give each its own, as by torch.nn.Parameter({key}.clone())"
                    )

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        """Put a layer or a trained head in its place.

        BaseTuner's own method reads the weight of a head as if the head were a Linear. Heads of several layers
        (RoBERTa's) have no such weight, so that merge_and_unload would fail.
        """
        setattr(parent, child_name, new_module)

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        """Cast an adapter of all layers, including its buffers.

        Beside half-precision weights the adapter becomes fp32, or half precision if autocast_adapter_dtype is False.
        """
        for layer in tuner_layers(self.model).values():
            if adapter_name in layer.adapters:
                layer.cast(adapter_name, widen=autocast_adapter_dtype)

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        """Return the key for a saved adapter, without the adapter's name.

        In the key, the adapter's name follows the attribute that holds the adapters. PEFT's own method removes the name
        at the end of the key only. A name further inside the key would be saved, and an adapter loaded under another
        name would not get these tensors.
        """
        behind = rf"(.*\.{cls.prefix}\w+)\.{re.escape(adapter_name)}(?=\.|$)"
        return re.sub(behind, r"\1", key)


class LinearTuner(Tuner):
    """A tuner that wraps the layers named by a TunerConfig. Subclasses define prefix and tuner_layer_cls."""

    prefix: str
    tuner_layer_cls: type[TunerLayer]
    check_layer = staticmethod(check_linear)  # (module, name, model) -> the module; may raise UserError
    _check_target_module_exists = staticmethod(is_target)

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        if any(adapter_name in layer.adapters for layer in tuner_layers(model, self.tuner_layer_cls).values()):
            raise UserError(
                f"the model has an adapter {adapter_name!r} already: delete_adapter() it first, or give another name"
            )
        config = self.peft_config[adapter_name]
        with self._undone_by_an_error(model, adapter_name):
            if config.target_modules is None:
                config.target_modules = role_targets(model, config.default_roles(), config.layers_to_transform)
            check_targets(config, model)
            targets = config.target_modules
            super().inject_adapter(model, adapter_name, *args, **kwargs)
            self._check_names_are_told_apart(model)
        config.target_modules = targets  # PEFT shortens long lists to common endings, which may be ambiguous elsewhere

    def _check_names_are_told_apart(self, model: nn.Module) -> None:
        """Refuse several adapters if the name of one adapter is also the name of a part of the model.

        PEFT assigns every tensor with an adapter's name in its key to that adapter. When PEFT saves another adapter,
        this tensor would be left out.
        """
        places = rf"(?<=\.)(modules_to_save|{self.prefix}\w+)\.[^.]+"  # positions of adapter names
        tensors = [name for named in (model.named_parameters(), model.named_buffers()) for name, _ in named]
        parts = {part for name in tensors for part in re.sub(places, r"\1", f".{name}").split(".")}
        same = [name for name in self.peft_config if name in parts]
        if same and len(self.peft_config) > 1:
            raise UserError(
                f"an adapter {same[0]!r} beside another is not possible: that is also the name of a part of the model, "
                "by which PEFT would leave tensors of the other one out when it is saved; choose another name"
            )

    def _create_and_replace(
        self,
        peft_config: TunerConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
    ) -> None:
        if isinstance(target, self.tuner_layer_cls):
            self._add_adapter(target, adapter_name, peft_config, current_key)
            return
        if takes_weight_alone(parent, target_name):
            raise UserError(
                f"target module {current_key!r} is never called: {kind(parent)} takes its weight alone, so that an "
                "adapter there would have no effect"
            )
        layer = self.tuner_layer_cls(self.check_layer(target, current_key, self.model))
        if isinstance(parent, nn.TransformerEncoderLayer):
            layer.register_forward_pre_hook(_nothing)  # with a hook, the parent calls its modules
            for module in self.model.modules():
                if isinstance(module, nn.TransformerEncoder):
                    module.use_nested_tensor = False  # nested tensors need layers that read weights
        self._add_adapter(layer, adapter_name, peft_config, current_key)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    @contextmanager
    def _undone_by_an_error(self, model: nn.Module, adapter_name: str) -> Iterator[None]:
        """Restore the model and the config if the injection fails."""
        config, trained = self.peft_config[adapter_name], [(p, p.requires_grad) for p in model.parameters()]
        fields = dict(vars(config))
        try:
            yield
        except Exception:
            for name, layer in tuner_layers(model, self.tuner_layer_cls).items():
                for attribute in (*layer.adapter_layer_names, *layer.other_param_names):
                    if adapter_name in getattr(layer, attribute):
                        del getattr(layer, attribute)[adapter_name]
                if not layer.adapters:
                    model.set_submodule(name, layer.base_layer)
            for parameter, requires_grad in trained:
                parameter.requires_grad_(requires_grad)
            vars(config).update(fields)
            raise

    def _add_adapter(self, layer: TunerLayer, adapter_name: str, config: TunerConfig, name: str) -> None:
        """Add the adapter to the layer of that name."""
        layer.update_layer(adapter_name, config)


def tuner_layers(model: nn.Module, kind: type[TunerLayer] = TunerLayer) -> dict[str, TunerLayer]:
    """Return the model's layers with adapters of our methods, or of one method, around them, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, kind)}


def _nothing(*_: Any) -> None:
    """A hook that changes nothing."""


def check_dropout(dropout: float) -> None:
    """Refuse a dropout outside [0, 1)."""
    if not 0 <= dropout < 1:
        raise UserError(f"dropout={dropout} is not possible: a probability from 0 to below 1")


def check_positive(config: PeftConfig, *names: str) -> None:
    """Refuse values of the named fields below one."""
    for name in names:
        if getattr(config, name) < 1:
            raise UserError(f"{name}={getattr(config, name)} is not possible: at least 1")


def broken(names: list[str]) -> ValueError:
    """Return the error of a safe merge of these adapters. Its message begins like PEFT's, because callers match it."""
    return ValueError(
        f"NaNs detected in the merged weights. The adapter {', '.join(names)} seems to be broken: the merged weight is "
        "not finite, the layer was left as it was"
    )


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

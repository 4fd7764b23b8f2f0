"""Base classes of PEFT's model classes of our methods: they find layers and wrap them."""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from surm_bench.adapters.base_layer import check_mergeable, kind, takes_weight_alone
from surm_bench.adapters.site import Site
from surm_bench.adapters.targets import check_targets, is_target, role_targets
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.adapters.tuner_layer import TunerLayer, tuner_layers
from surm_bench.errors import UserError


class Tuner(BaseTuner):
    """PEFT's BaseTuner with our own defaults."""

    target_module_mapping: ClassVar = {}  # roles decide instead

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
                        f"too; give each module its own {key}, for example torch.nn.Parameter({key}.clone())"
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


class LayerTuner(Tuner):
    """A tuner that wraps the layers named by a TunerConfig. register_method makes a subclass for each method."""

    prefix: str
    tuner_layer_cls: type[TunerLayer]
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
            if config.exclude_modules is None:
                config.exclude_modules = config.default_exclusions(model) or None
            check_targets(config, model)
            targets = config.target_modules
            super().inject_adapter(model, adapter_name, *args, **kwargs)
            self._check_names_are_unique(model)
        config.target_modules = targets  # PEFT shortens long lists to common endings, which may be ambiguous elsewhere

    def _check_names_are_unique(self, model: nn.Module) -> None:
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
                f"an adapter {same[0]!r} beside another is not possible: a part of the model has the same name, and "
                "PEFT would leave tensors of the other adapter out when it saves that adapter; choose another name"
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
            self._add_adapter(target, adapter_name, current_key)
            return
        if takes_weight_alone(parent, target_name):
            raise UserError(
                f"target module {current_key!r} is never called: {kind(parent)} reads its weight only, so an adapter "
                "there would have no effect"
            )
        layer = self.tuner_layer_cls(self.tuner_layer_cls.check_base(target, current_key, self.model))
        if isinstance(parent, nn.TransformerEncoderLayer):
            layer.register_forward_pre_hook(_nothing)  # with a hook, the parent calls its modules
            for module in self.model.modules():
                if isinstance(module, nn.TransformerEncoder):
                    module.use_nested_tensor = False  # nested tensors need layers that read weights
        self._add_adapter(layer, adapter_name, current_key)
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

    def _add_adapter(self, layer: TunerLayer, adapter_name: str, layer_name: str) -> None:
        config = self.peft_config[adapter_name]
        layer.add(adapter_name, config.build(Site(layer, layer_name, self.model, adapter_name)), config)


def _nothing(*_: Any) -> None:
    """A hook that changes nothing."""

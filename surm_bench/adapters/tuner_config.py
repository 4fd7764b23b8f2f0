"""The config of a method: the fields that all our methods share, and the properties that each method declares."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar

from peft import PeftConfig
from peft.utils import PeftType
from torch import nn

from surm_bench.adapters.hooks import Hooks
from surm_bench.adapters.site import Site
from surm_bench.config.bounds import check_bounds, may_be_none
from surm_bench.errors import UserError


@dataclass
class TunerConfig(PeftConfig):
    """Fields common to all our methods that wrap layers. PEFT itself reads these fields too.

    A method is a subclass with its own fields, ``usual_roles`` and ``build``, registered by
    ``surm_bench.adapters.register.register_method``. The metadata of a field give its help and, for a number, its
    bounds: ``least`` is the smallest valid value; with ``below``, every valid value is smaller than it.
    """

    method: ClassVar[str]  # the name in PEFT, set by register_method
    usual_roles: ClassVar[tuple[str, ...]]  # the roles that are adapted when target_modules is None

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
        self.peft_type = PeftType[self.method.upper()]
        for key in fields(self):
            bounds = {"at least": key.metadata.get("least"), "below": key.metadata.get("below")}
            check_bounds(key.name, getattr(self, key.name), bounds, may_be_none(key))
        if isinstance(self.target_modules, str) and (self.layers_to_transform, self.layers_pattern) != (None, None):
            raise UserError(
                f"layers_to_transform and layers_pattern are not possible here: target_modules={self.target_modules!r} "
                "is a regular expression, which has to choose the layers itself"
            )

    def build(self, site: Site) -> nn.Module:
        """Return a new adapter for a layer."""
        raise NotImplementedError

    def default_roles(self) -> tuple[str, ...]:
        """Return the roles that are adapted when target_modules is None."""
        return self.usual_roles

    def default_exclusions(self, model: nn.Module) -> list[str]:
        """Return the names of the modules that are left out when exclude_modules is None."""
        return []

    def training_hooks(self, adapters: Mapping[str, nn.Module]) -> Hooks | None:
        """Return the hooks for the training of these adapters, or None without hooks.

        Args:
            adapters: the adapter in each layer, by the layer's name.
        """
        return None

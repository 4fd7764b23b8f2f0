"""The keys of an adapter."""

from dataclasses import dataclass
from typing import Any

from surm_bench.config.keys import Group, InId, key
from surm_bench.errors import UserError

SET_BY_RUNNER = {  # fields of a PEFT config -> why they cannot be set
    "modules_to_save": "every run trains the head in full and nothing else beside the adapter",
    "inference_mode": "every run trains its adapter; adapter=linear_probe trains the head alone",
}


@dataclass
class AdapterConfig(Group):
    """A PEFT config by its class and fields, and the roles of the layers it adapts."""

    group = "adapter"

    name: str = key("the name in records")
    label: str = key("the name in tables")
    lr: float = key("the adapter's usual learning rate, the default of optimizer.lr")
    roles: list[str] = key(
        "roles of the layers to adapt (surm_bench.adapters.roles); empty: the method's own", [], InId.DERIVED
    )
    role_fields: dict[str, list[str]] = key("other fields of the PEFT config that list modules", {}, InId.DERIVED)
    first_layer: int = key(
        "layers below this one get no adapter (AdapterDrop, arXiv 2010.11918)", 0, InId.UNLESS_DEFAULT
    )
    peft: dict[str, Any] = key(
        "_target_ (the class of the PEFT config) and the fields of the PEFT config", in_id=InId.DERIVED
    )
    version: int = key(
        "raised when a change of this method's code changes results beyond rounding", 1, InId.UNLESS_DEFAULT
    )

    def check(self) -> None:
        """Refuse fields of the PEFT config that other keys or the runner set; they would have no effect."""
        super().check()
        for name in self.peft.keys() & SET_BY_RUNNER.keys():
            raise UserError(f"adapter.peft.{name} has no effect here: {SET_BY_RUNNER[name]}")
        if self.roles and "target_modules" in self.peft:
            raise UserError("adapter.peft.target_modules has no effect beside adapter.roles: give adapter.roles=[] too")

    @property
    def target(self) -> str:
        """The import path of the class of the PEFT config."""
        return str(self.peft.get("_target_", ""))


def class_name(target: str) -> str:
    """Shorten the import path of a class of PEFT or surm_bench to package and name. Return other paths unchanged.

    ``peft.tuners.lora.LoraConfig`` becomes ``peft.LoraConfig``.
    """
    package, name = target.partition(".")[0], target.rpartition(".")[2]
    return f"{package}.{name}" if package in ("peft", "surm_bench") else target

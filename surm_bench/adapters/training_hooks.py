"""The hooks of a method in the training loop. AdaLoRA has a rank budget that shrinks with the steps and a loss term.

AdaLoRA: Zhang et al., 2023, arXiv 2303.10512. PEFT's AdaLoRA needs the number of steps before there is a data loader,
must be called between the optimiser's step and the clearing of gradients, and adds its term only to a loss that the
model computes itself (PeftModel.forward bypasses that code). Here the training loop calls the hooks, and the loss
is the task's.
"""

import torch
from peft import PeftModel
from peft.tuners.adalora import AdaLoraModel
from torch import Tensor, nn

from surm_bench.adapters.hooks import Hooks
from surm_bench.adapters.pruning import distance_to_orthogonal
from surm_bench.adapters.tuner import LayerTuner
from surm_bench.adapters.tuner_layer import tuner_layers
from surm_bench.errors import UserError

IMPORTANCES = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # attributes of PEFT's RankAllocator: name of a parameter -> tensor


class AdaLoraHooks(Hooks):
    """The training hooks of one AdaLoRA adapter.

    The config's tinit and tfinal are taken as fractions of its total_step and stretched to the steps of the run. Thus
    one config fits six steps and six thousand.
    """

    def __init__(self, tuner: AdaLoraModel):
        self.tuner, self.is_final = tuner, False  # is_final: whether the ranks have their final number
        self.config = tuner.peft_config[tuner.trainable_adapter_name]
        if not 0 < self.config.target_r < self.config.init_r:
            raise UserError(
                f"target_r={self.config.target_r} is not possible: from 1 to below init_r={self.config.init_r}"
            )

    def begin(self, steps: int) -> None:
        """Stretch the schedule. tfinal is at most steps - 2, so that the final cut has importances to rank by."""
        if steps < 2:
            raise UserError("AdaLoRA cannot rank its parameters in a single step: train at least two")
        planned = self.config.total_step
        self.config.tinit = steps * self.config.tinit // planned
        self.config.tfinal = min(steps * self.config.tfinal // planned, steps - 2)
        self.config.total_step = steps

    def penalty(self) -> Tensor:
        """Return orth_reg_weight · mean ‖PᵀP − I‖_F over P, the left factors and the transposed right factors."""
        name = self.tuner.trainable_adapter_name
        layers = [module for module in self.tuner.model.modules() if isinstance(module, self.tuner.tuner_layer_cls)]
        factors = [layer.lora_B[name] for layer in layers] + [layer.lora_A[name].T for layer in layers]
        return self.config.orth_reg_weight * torch.stack([distance_to_orthogonal(p) for p in factors]).mean()

    def after_step(self, step: int) -> None:
        """Update importances from the gradients, which are still set, and cut ranks to the budget of the step."""
        final = self.config.total_step - self.config.tfinal
        # PEFT makes the final cut only at this very step. If fp16 has skipped it, the next step makes the cut.
        late = step > final and not self.is_final
        self.tuner.update_and_allocate(final if late else step)
        self.is_final = step >= final

    def state_dict(self) -> dict:
        """Return the importances of all parameters, their running means, and the pattern of kept ranks."""
        allocator = self.tuner.rankallocator
        importances = {name: getattr(allocator, name) for name in IMPORTANCES}
        return importances | {"rank_pattern": self.config.rank_pattern, "is_final": self.is_final}

    def load_state_dict(self, state: dict) -> None:
        """Continue from a result of state_dict whose tensors are on the CPU."""
        devices = {name: parameter.device for name, parameter in self.tuner.model.named_parameters()}
        for kind in IMPORTANCES:
            values = {name: value.to(devices[name]) for name, value in state[kind].items()}
            setattr(self.tuner.rankallocator, kind, values)
        self.config.rank_pattern, self.is_final = state["rank_pattern"], state["is_final"]


def training_hooks(model: PeftModel) -> Hooks | None:
    """Return what the model's method adds to the training loop, or None if it adds nothing.

    Raises:
        UserError: the configured ranks do not shrink.
    """
    tuner = model.base_model
    if isinstance(tuner, AdaLoraModel):
        return AdaLoraHooks(tuner)
    if isinstance(tuner, LayerTuner):
        return tuner.peft_config[tuner.active_adapters[0]].training_hooks(active_adapters(tuner))
    return None


def active_adapters(tuner: LayerTuner) -> dict[str, nn.Module]:
    """Return the active adapter of every layer that has it, by the layer's name."""
    active = tuner.active_adapters[0]
    layers = tuner_layers(tuner.model).items()
    return {name: layer.adapters[active] for name, layer in layers if active in layer.adapters}

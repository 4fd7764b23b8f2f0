"""The Hadamard adapter as a PEFT method: y ← (1 + scale)⊙y + shift after self-attention, both zero at the start.

Chen et al., 2023, arXiv 2407.11033: a weight and a bias vector act element by element on the output of self-attention,
before the residual sum and its norm, and the norm that follows is trained with these vectors. With one norm per layer
this gives 4·d parameters per layer, 36,864 on BERT-base, about the 0.033 % that the paper's abstract states. Only
summaries of the paper could be consulted. They do not say on which side of the output projection the vectors are (here:
after the projection) and do not name the norm. Here the norm is trained through two vectors after it, which reach the
same functions as the norm's own weight and bias. The paper first trains the classifier alone, in a separate stage; here
classifier and adapter are trained together, as with every other method.
"""

from dataclasses import dataclass

from torch import nn

from surm_bench.adapters.elementwise import Elementwise, ElementwiseLayer
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig


@dataclass
class HadamardConfig(TunerConfig):
    """Configuration of the Hadamard adapter.

    Without target_modules, adapters follow the attention's output projection and the norm after this projection.
    """

    usual_roles = ("o", "attention_norm")

    def build(self, site: Site) -> nn.Module:
        return Elementwise(site.layer.out_features)


register_method("hadamard", HadamardConfig, ElementwiseLayer)

"""A small RoBERTa with random weights, and helpers that ask an adapted model for its answers."""

import torch
from peft import get_peft_model
from torch import nn
from torch.utils.data import default_collate
from transformers import RobertaConfig, RobertaForSequenceClassification

from surm_bench.adapters.roles import find_roles
from surm_bench.config import AdapterConfig, Config, OptimizerConfig, TaskConfig, TrainerConfig
from surm_bench.tasks import Classification, TaskData
from surm_bench.training import Hooks, fit

D, HEADS, LAYERS = 24, 4, 2
SIZES = {
    "vocab_size": 60,
    "hidden_size": D,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
}
CONFIG = RobertaConfig(
    **SIZES,
    initializer_range=0.2,  # so that layers matter: at the usual 0.02 a tiny network hardly answers its input
    num_labels=3,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
QUERY = "roberta.encoder.layer.{}.attention.self.query"


def backbone(dtype: torch.dtype = torch.float32, layers: int = LAYERS) -> nn.Module:
    torch.manual_seed(0)
    config = RobertaConfig.from_dict(CONFIG.to_dict() | {"num_hidden_layers": layers})
    return RobertaForSequenceClassification(config).to(dtype).eval()


def roles(layers: int = LAYERS) -> dict[str, list[str]]:
    return find_roles(name for name, _ in backbone(layers=layers).named_modules())


def tokens(n: int = 4) -> torch.Tensor:
    return torch.randint(3, 60, (n, 11), generator=torch.Generator().manual_seed(1))


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(tokens()).logits


def stir(model: nn.Module, seed: int = 0) -> nn.Module:
    """Move every trainable parameter away from its start."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return torch.allclose(a, b, atol=tolerance, rtol=0)


def one_linear(config, out_features: int = 12, in_features: int = 8):
    """Return an adapted Linear, moved away from its start, and a copy of the frozen weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(in_features, out_features))
    weight = model[0].weight.detach().clone()
    return stir(get_peft_model(model, config)).base_model.model[0], weight


def shift_of(layer: nn.Module, in_features: int = 8) -> torch.Tensor:
    """Return the dense matrix, column by column, that an adapted layer adds to its base layer."""
    with torch.no_grad():
        return (layer(torch.eye(in_features)) - layer.base_layer(torch.eye(in_features))).T


def train(model: nn.Module, steps: int, hooks: Hooks | None) -> list[dict]:
    """Train on eight texts, all in one batch, and return the evaluations."""
    data = [{"input_ids": row, "labels": i % 3} for i, row in enumerate(tokens(8))]
    settings = Config(
        task=TaskConfig(name="t"),
        adapter=AdapterConfig(label="a"),
        optimizer=OptimizerConfig(lr=1e-2, warmup_ratio=0.0),
        trainer=TrainerConfig(epochs=steps, max_steps=steps, batch_size=8, progress=False),
    )
    task = TaskData(data, {"reported": data}, default_collate, None, {})
    return fit(model, task, Classification("accuracy", "accuracy"), settings, hooks=hooks).evaluations

"""The roles of layers in a backbone: the one place that says which modules have a role.

Roles have the usual names: q, k, v, o, fc1, fc2, norm, head. The role attention_norm is the norm directly after
attention. The role mlp is the module whose last input is the input of the MLP. An architecture maps each role to a
pattern that matches whole names of ``named_modules``. Adapters name roles and never modules, so LoRA on q and v means
the same layers in every backbone.
"""

import re
from collections.abc import Iterable

from surm_bench.errors import UserError, unknown

ARCHITECTURES = {
    # transformers: BERT and RoBERTa, with or without a head. BERT's pooler belongs to the head, like RoBERTa's
    # classifier.dense.
    "bert": {
        "q": r"(\w+\.)?encoder\.layer\.\d+\.attention\.self\.query",
        "k": r"(\w+\.)?encoder\.layer\.\d+\.attention\.self\.key",
        "v": r"(\w+\.)?encoder\.layer\.\d+\.attention\.self\.value",
        "o": r"(\w+\.)?encoder\.layer\.\d+\.attention\.output\.dense",
        "fc1": r"(\w+\.)?encoder\.layer\.\d+\.intermediate\.dense",
        "fc2": r"(\w+\.)?encoder\.layer\.\d+\.output\.dense",
        "mlp": r"(\w+\.)?encoder\.layer\.\d+\.output",
        "norm": r"(\w+\.)?(embeddings|encoder\.layer\.\d+\.(attention\.)?output)\.LayerNorm",
        "attention_norm": r"(\w+\.)?encoder\.layer\.\d+\.attention\.output\.LayerNorm",
        "head": r"(\w+\.)?pooler|classifier",
    },
    # transformers: MPNet, with or without a head. The pooler belongs to the head.
    "mpnet": {
        "q": r"(\w+\.)?encoder\.layer\.\d+\.attention\.attn\.q",
        "k": r"(\w+\.)?encoder\.layer\.\d+\.attention\.attn\.k",
        "v": r"(\w+\.)?encoder\.layer\.\d+\.attention\.attn\.v",
        "o": r"(\w+\.)?encoder\.layer\.\d+\.attention\.attn\.o",
        "fc1": r"(\w+\.)?encoder\.layer\.\d+\.intermediate\.dense",
        "fc2": r"(\w+\.)?encoder\.layer\.\d+\.output\.dense",
        "mlp": r"(\w+\.)?encoder\.layer\.\d+\.output",
        "norm": r"(\w+\.)?(embeddings|encoder\.layer\.\d+\.(attention|output))\.LayerNorm",
        "attention_norm": r"(\w+\.)?encoder\.layer\.\d+\.attention\.LayerNorm",
        "head": r"(\w+\.)?pooler|classifier",
    },
    # timm VisionTransformer with its qkv split in three layers (surm_bench.models.vision)
    "timm_vit": {
        "q": r"blocks\.\d+\.attn\.qkv\.q",
        "k": r"blocks\.\d+\.attn\.qkv\.k",
        "v": r"blocks\.\d+\.attn\.qkv\.v",
        "o": r"blocks\.\d+\.attn\.proj",
        "fc1": r"blocks\.\d+\.mlp\.fc1",
        "fc2": r"blocks\.\d+\.mlp\.fc2",
        "mlp": r"blocks\.\d+\.mlp",
        "norm": r"blocks\.\d+\.norm[12]|norm|norm_pre|fc_norm",
        "attention_norm": r"blocks\.\d+\.norm2",
        "head": r"head",
    },
}
ROLES = tuple(ARCHITECTURES["bert"])
FUSED = ("qkv", "in_proj", "c_attn", "query_key_value")  # in the names of layers that fuse q, k and v


def find_roles(module_names: Iterable[str]) -> dict[str, list[str]]:
    """Map each role to the names of its modules, in the model's order. Only the head may have no module.

    Args:
        module_names: the names of ``model.named_modules()``.

    Raises:
        UserError: no architecture matches the model: its qkv is fused, or ARCHITECTURES lacks it.
    """
    names = list(module_names)
    for patterns in ARCHITECTURES.values():
        roles = {role: [n for n in names if re.fullmatch(pattern, n)] for role, pattern in patterns.items()}
        if all(members for role, members in roles.items() if role != "head"):
            return roles
    if any(name.endswith(".attn.qkv") for name in names):
        raise UserError("this ViT has its q, k and v fused in one layer: call surm_bench.models.split_qkv(model) first")
    raise UserError(
        "no role map fits this model: name target_modules yourself, or add an architecture beside "
        f"{', '.join(ARCHITECTURES)} in surm_bench/adapters/roles.py. Its modules: "
        f"{', '.join(n for n in names if n)[:500]}"
    )


def attention_heads(modules: Iterable[object]) -> int:
    """Return the number of heads, from the attention modules in ``model.modules()``; raises UserError without any."""
    for module in modules:
        for attribute in ("num_heads", "num_attention_heads"):  # timm, transformers
            if hasattr(module, attribute):
                return getattr(module, attribute)
    raise UserError("the number of attention heads of this model is unknown: set heads")


def check_not_fused(name: str, in_features: int, out_features: int) -> None:
    """Refuse a layer that fuses q, k and v, because its outputs are not the heads of one of them; raises UserError."""
    if any(part in name.rpartition(".")[2] for part in FUSED) or out_features == 3 * in_features:
        raise UserError(
            f"{name}, of {out_features}×{in_features}, is q, k and v fused in one layer, but this method needs the "
            "heads of each: split the layer, as surm_bench.models.split_qkv does for timm's ViTs"
        )


def layer_of(name: str) -> int | None:
    """Return the index of a module's layer, from 0; None for a module outside the layers (a final norm, the head)."""
    return next((int(part) for part in name.split(".") if part.isdigit()), None)


def from_layer(roles: dict[str, list[str]], first: int) -> dict[str, list[str]]:
    """Return the roles without modules of layers below ``first``. Modules outside the layers stay.

    Raises:
        UserError: the model has no layer ``first``.
    """
    if first == 0:
        return roles
    indices = {name: layer_of(name) for names in roles.values() for name in names}
    depth = 1 + max((index for index in indices.values() if index is not None), default=-1)
    if not 0 <= first < depth:
        raise UserError(f"first_layer={first} is not possible: this model has layers 0 to {depth - 1}")
    dropped = {name for name, index in indices.items() if index is not None and index < first}
    return {role: [name for name in names if name not in dropped] for role, names in roles.items()}


def select(roles: dict[str, list[str]], wanted: Iterable[str]) -> list[str]:
    """Return the module names of the wanted roles; raises UserError with the list of roles for an unknown role."""
    for role in wanted:
        if role not in roles:
            raise unknown("role", role, roles)
    return [name for role in wanted for name in roles[role]]

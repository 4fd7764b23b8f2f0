"""What the layers of a backbone are for: the one place that knows module names.

A role is a name of the field (q, k, v, o, fc1, fc2, norm, head); a family maps each role to an anchored pattern over
``named_modules``. Adapters ask for roles and never for names, so LoRA on q and v means the same layers everywhere.
"""

import re
from collections.abc import Iterable

from surm_bench.errors import UserError, unknown

FAMILIES = {
    # transformers: BERT and RoBERTa. BERT's pooler is part of the head, as RoBERTa's classifier.dense is.
    "bert": {
        "q": r"\w+\.encoder\.layer\.\d+\.attention\.self\.query",
        "k": r"\w+\.encoder\.layer\.\d+\.attention\.self\.key",
        "v": r"\w+\.encoder\.layer\.\d+\.attention\.self\.value",
        "o": r"\w+\.encoder\.layer\.\d+\.attention\.output\.dense",
        "fc1": r"\w+\.encoder\.layer\.\d+\.intermediate\.dense",
        "fc2": r"\w+\.encoder\.layer\.\d+\.output\.dense",
        "norm": r"\w+\.(embeddings|encoder\.layer\.\d+\.(attention\.)?output)\.LayerNorm",
        "head": r"\w+\.pooler|classifier",
    },
    # timm VisionTransformer, its qkv split in three (surm_bench.models.vision)
    "timm_vit": {
        "q": r"blocks\.\d+\.attn\.qkv\.q",
        "k": r"blocks\.\d+\.attn\.qkv\.k",
        "v": r"blocks\.\d+\.attn\.qkv\.v",
        "o": r"blocks\.\d+\.attn\.proj",
        "fc1": r"blocks\.\d+\.mlp\.fc1",
        "fc2": r"blocks\.\d+\.mlp\.fc2",
        "norm": r"blocks\.\d+\.norm[12]|norm|norm_pre|fc_norm",
        "head": r"head",
    },
}
ROLES = tuple(FAMILIES["bert"])


def find_roles(module_names: Iterable[str]) -> dict[str, list[str]]:
    """Map each role to the module names that play it, in the model's order.

    Args:
        module_names: the names of ``model.named_modules()``.

    Raises:
        UserError: no family explains the model (a fused qkv, or an architecture without an entry).
    """
    names = list(module_names)
    for patterns in FAMILIES.values():
        roles = {role: [n for n in names if re.fullmatch(pattern, n)] for role, pattern in patterns.items()}
        if all(roles.values()):
            return roles
    if any(name.endswith(".attn.qkv") for name in names):
        raise UserError("this ViT has its q, k and v fused in one layer: call surm_bench.models.split_qkv(model) first")
    raise UserError(
        f"no role map fits this model: name target_modules yourself, or add a family beside {', '.join(FAMILIES)} in "
        f"surm_bench/roles.py. Its modules: {', '.join(n for n in names if n)[:500]}"
    )


def select(roles: dict[str, list[str]], wanted: Iterable[str]) -> list[str]:
    """The module names of the wanted roles; raises UserError that lists the roles when one is unknown."""
    for role in wanted:
        if role not in roles:
            raise unknown("role", role, roles)
    return [name for role in wanted for name in roles[role]]

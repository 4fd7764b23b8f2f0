"""What a change of a weight matrix is described by, computed by numpy."""

import numpy as np
import torch


def described(change: np.ndarray, weight: np.ndarray) -> dict:
    singular = np.linalg.svd(change, compute_uv=False)
    both = (weight + change).ravel(), weight.ravel()
    return {
        "norm": np.sqrt((change**2).sum()),
        "weight_norm": np.sqrt((weight**2).sum()),
        "stable_rank": (singular**2).sum() / singular[0] ** 2,
        "singular_values": singular[:8].tolist(),
        "rank": int((singular > 0.01 * singular[0]).sum()),
        "cosine_distance": 1 - both[0] @ both[1] / np.linalg.norm(both[0]) / np.linalg.norm(both[1]),
    }


def numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()

"""Fit a structured matrix to a dense one by gradients."""

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from surm_bench.structured import StructuredMatrix

# A line search chooses each step, so no learning rate needs tuning. More memory than the usual 10 pairs helps,
# because products of two factors are badly conditioned.
METHOD = "L-BFGS-B"
MEMORY = 50
TOLERANCE = 1e-12  # change of the relative squared error between two iterations


def fit(member: StructuredMatrix, target: Tensor, iterations: int) -> int:
    """Minimise ‖target − member‖² / ‖target‖² over the parameters of member, from their current values, in place.

    Args:
        member: in fp64.
        target: (side, side), fp64.
        iterations: the largest number of iterations.

    Returns:
        The number of iterations taken.
    """
    parameters = list(member.parameters())
    scale = target.square().sum()

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        vector_to_parameters(torch.from_numpy(vector), parameters)
        loss = (member.dense() - target).square().sum() / scale
        gradients = torch.autograd.grad(loss, parameters)
        return loss.item(), parameters_to_vector(gradients).numpy()

    start = parameters_to_vector(parameters).detach().numpy()
    options = {"maxiter": iterations, "maxcor": MEMORY, "ftol": TOLERANCE, "gtol": 0.0}
    result = minimize(objective, start, jac=True, method=METHOD, options=options)
    vector_to_parameters(torch.from_numpy(result.x), parameters)
    return int(result.nit)

"""The small network of the pinwheel study, and the adaptation of one of its matrices."""

import torch
from torch import Tensor, nn

from surm_bench.structured import STRUCTURES, StructuredMatrix

WIDTH = 32
STRUCTURED = ("low_rank", "circulant", "symmetric_toeplitz", "toeplitz")  # LoRA r=1 is low_rank
METHODS = ("frozen", *STRUCTURED, "dense")


class Network(nn.Module):
    """(points, 2) → logits (points, classes), with two hidden layers of ReLU units; the second one's matrix is W₀ + ΔW.

    Args:
        classes: the number of classes.
        delta: ΔW, (width, width); None is zero.
        width: units of each hidden layer.
    """

    def __init__(self, classes: int, delta: StructuredMatrix | None = None, width: int = WIDTH):
        super().__init__()
        self.classes = classes
        self.input = nn.Linear(2, width)
        self.hidden = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)
        self.delta = delta

    def matrix(self) -> Tensor:
        """Return W₀ + ΔW."""
        return self.hidden.weight if self.delta is None else self.hidden.weight + self.delta.dense()

    def features(self, x: Tensor) -> Tensor:
        """Return the inputs of the head, (points, width), for (points, 2)."""
        return nn.functional.linear(self.input(x).relu(), self.matrix(), self.hidden.bias).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def build(method: str, classes: int, pretrained: Network | None) -> Network:
    """Return a network whose requires_grad flags mark the trained parameters.

    From scratch, without a pretrained network, the hidden matrix is the structured matrix itself, W₀ = 0, and all other
    parameters are trained with it. "dense" is an ordinary network; "frozen" keeps the hidden matrix at its random
    start. With a pretrained network, only its hidden matrix changes: ΔW is trained, or for "dense" the matrix itself.
    """
    delta = StructuredMatrix(STRUCTURES[method](WIDTH, WIDTH)) if method in STRUCTURED else None
    network = Network(classes, delta)
    if pretrained is not None:
        network.load_state_dict(pretrained.state_dict(), strict=False)  # a structure keeps its own start
    elif delta is not None:
        nn.init.zeros_(network.hidden.weight)
    network.requires_grad_(pretrained is None)
    network.hidden.weight.requires_grad_(method == "dense")
    if delta is not None:
        delta.requires_grad_(True)
    return network


def matrix_counts(network: Network) -> tuple[int, int]:
    """Return two counts for the hidden matrix: the trained numbers, and the numbers to store after training."""
    if network.delta is not None:
        return network.delta.num_parameters, network.delta.num_stored
    weight = network.hidden.weight
    trained = weight.numel() if weight.requires_grad else 0
    return trained, trained


def train(network: Network, x: Tensor, y: Tensor, rate: float, steps: int) -> list[float]:
    """Train with full-batch Adam on cross-entropy; the learning rate falls linearly to zero.

    Returns:
        The loss before each step; empty if the network has no trained parameters.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trained:
        return []
    optimizer = torch.optim.Adam(trained, lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def classify(network: Network, x: Tensor) -> Tensor:
    """Return the class of each point; x is (points, 2)."""
    with torch.no_grad():
        return network(x).argmax(-1)

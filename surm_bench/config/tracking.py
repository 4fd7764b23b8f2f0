"""The keys of an experiment tracker."""

from dataclasses import dataclass

from surm_bench.config.keys import Group, key


@dataclass
class TrackingConfig(Group):
    """An experiment tracker that receives a copy of a run. Results come from records alone."""

    group = "tracking"

    kind: str = key(
        "none | tensorboard: event files beside the records | wandb: Weights & Biases",
        "none",
        choices=("none", "tensorboard", "wandb"),
    )
    project: str = key("project in Weights & Biases", "surm-bench")
    entity: str | None = key("team or user in Weights & Biases; null: the owner of the API key", None)

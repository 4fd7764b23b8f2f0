"""Where things lie on this machine: kept beside a record, not in it, since records travel."""

import json
from pathlib import Path

from surm_bench.atomic import atomic

FILE = "places.json"
PLACES = {"results_dir": "results", "task.data_dir": None, "model.weights": None}  # and what a record says instead


def without_places(config: dict) -> dict:
    """The resolved configuration without paths of this machine."""
    return config | {
        "results_dir": PLACES["results_dir"],
        "task": config["task"] | {"data_dir": None},
        "model": config["model"] | {"weights": None},
    }


def is_place(override: str) -> bool:
    """Whether an override of the command line names a path of this machine."""
    return override.lstrip("+").partition("=")[0] in PLACES


def keep_places(config: dict, folder: Path) -> None:
    """Write where data and weights of a run were, beside its record."""
    places = {"task": {"data_dir": config["task"]["data_dir"]}, "model": {"weights": config["model"]["weights"]}}
    with atomic(folder / FILE) as temporary:
        temporary.write_text(json.dumps(places), encoding="utf-8")


def with_places(config: dict, folder: Path) -> dict:
    """The configuration of a record with the places that lie beside it, if they do."""
    try:
        places = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return config
    return config | {group: config[group] | places[group] for group in ("task", "model")}

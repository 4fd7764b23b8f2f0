"""Where things lie on this machine: kept beside a record, not in it, since records travel."""

import json
from pathlib import Path

from surm_bench.atomic import atomic
from surm_bench.errors import UserError

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
    """The configuration of a record with the places that lie beside it, if they do.

    Raises:
        UserError: they cannot be read.
    """
    file = folder / FILE
    try:
        places = json.loads(file.read_bytes())
        given = {"task": {"data_dir": places["task"]["data_dir"]}, "model": {"weights": places["model"]["weights"]}}
    except FileNotFoundError:
        return config
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} is damaged ({error}): without it data and weights are looked for where task and model have them"
        ) from error
    return config | {group: config[group] | given[group] for group in given}

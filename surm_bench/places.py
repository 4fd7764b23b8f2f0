"""Where things lie on this machine: kept beside a record, not in it, since records travel."""

import json
import re
from pathlib import Path

from surm_bench.atomic import atomic
from surm_bench.errors import UserError

FILE = "places.json"
# Needs no quotes in Hydra's grammar: letters and digits with a slash among them, or a word that is no value of another
# type, as null, true or 007 are.
SAFE = re.compile(r"[a-z0-9_.+-]*/[a-z0-9_./+-]*|(?!(null|true|false|nan|inf)$)[a-z_][a-z0-9_.-]*", re.IGNORECASE)
PLACES = {"results_dir": "results", "task.data_dir": None, "model.weights": None}  # and what a record says instead


def without_places(config: dict) -> dict:
    """The resolved configuration without paths of this machine."""
    return config | {
        "results_dir": PLACES["results_dir"],
        "task": config["task"] | {"data_dir": None},
        "model": config["model"] | {"weights": None},
    }


def override_of(key: str, path: str | Path) -> str:
    """The override that gives a key this path, whatever letters the path has.

    Quotes and backslashes are as in Hydra's quoted values (https://hydra.cc/docs/advanced/override_grammar/basic), and
    ``${``, which would name another key, is escaped as OmegaConf has it.
    """
    return f"{key}={_quoted(escaped(str(path)))}"


def escaped(text: str) -> str:
    """A text in which ``${`` names no other key, as OmegaConf has it: backslashes before it are doubled."""
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)


def with_quotes(override: str, sweep: bool = False) -> str:
    """An override as it was typed, its value in quotes where it is a path that Hydra would take apart.

    ``${oc.env:NAME}`` keeps its meaning. What is in quotes is left as it is, and null is no path.

    Args:
        sweep: a comma or a call, as choice(a,b), names several values, unless that is a path that is there.
    """
    key, _, value = override.partition("=")
    if not is_place(override) or value == "null" or value[:1] in ("'", '"'):
        return override
    if sweep and re.search(r"[,(]", value) and not Path(value).expanduser().exists():
        return override
    return f"{key}={_quoted(value)}"


def check_place(key: str, path: object) -> None:
    """Refuse an empty path, which would be the current folder; raises UserError."""
    if isinstance(path, str) and not path.strip():
        raise UserError(f"{key}={path} is empty: name a folder or a file, as . for the current folder")


def _quoted(path: str) -> str:
    """A value in Hydra's grammar: backslashes are doubled before a quote, those of the path and the one at the end."""
    if SAFE.fullmatch(path):
        return path
    inner = re.sub(r"(\\*)'", lambda found: found[1] * 2 + r"\'", path)
    inner = re.sub(r"\\+$", lambda found: found[0] * 2, inner)
    return f"'{inner}'"


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

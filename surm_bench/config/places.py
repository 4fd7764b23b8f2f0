"""Paths on this machine. They are kept beside a record and not in it, because records are copied to other machines."""

import json
import re
from pathlib import Path

from surm_bench.config.schema import Config
from surm_bench.errors import UserError
from surm_bench.system.atomic import atomic

PLACES_FILE = "places.json"
# Values that need no quotes in Hydra's grammar: letters and digits with a slash, or a word, but not a word that Hydra
# reads as another type (null, true, 007).
SAFE = re.compile(r"[a-z0-9_.+-]*/[a-z0-9_./+-]*|(?!(null|true|false|nan|inf)$)[a-z_][a-z0-9_.-]*", re.IGNORECASE)
PLACES = {"results_dir": "results", "task.data_dir": None, "model.weights": None}  # key -> its value in a record


def without_places(config: Config) -> Config:
    """Return the configuration without the paths of this machine."""
    return config.having(task={"data_dir": None}, model={"weights": None}, results_dir=PLACES["results_dir"])


def override_of(key: str, path: str | Path) -> str:
    """Return the override that sets a key to a path. The path may contain any characters.

    Quotes and backslashes follow Hydra's quoted values (https://hydra.cc/docs/advanced/override_grammar/basic).
    ``${`` would refer to another key, so it is escaped as OmegaConf requires.
    """
    return f"{key}={_quoted(escaped(str(path)))}"


def escaped(text: str) -> str:
    """Escape ``${`` for OmegaConf, so that it refers to no other key. Backslashes before ``${`` are doubled."""
    return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)


def with_quotes(override: str, sweep: bool = False) -> str:
    """Put the value of an override in quotes if it is a path that Hydra would split.

    ``${oc.env:NAME}`` keeps its meaning. Values in quotes and null stay unchanged.

    Args:
        sweep: a comma or a call such as choice(a,b) means several values, unless it is a path that exists.
    """
    key, _, value = override.partition("=")
    if not is_place(override) or value == "null" or value[:1] in ("'", '"'):
        return override
    if sweep and re.search(r"[,(]", value) and not Path(value).expanduser().exists():
        return override
    return f"{key}={_quoted(value)}"


def check_place(key: str, path: object) -> None:
    """Raise UserError for an empty path, which would mean the current folder."""
    if isinstance(path, str) and not path.strip():
        raise UserError(f"{key}={path} is empty: name a folder or a file, such as . for the current folder")


def _quoted(path: str) -> str:
    """Quote a value for Hydra's grammar. Backslashes before a quote in the path or at its end are doubled."""
    if SAFE.fullmatch(path):
        return path
    inner = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", path)
    inner = re.sub(r"\\+$", lambda match: match[0] * 2, inner)
    return f"'{inner}'"


def is_place(override: str) -> bool:
    """Whether an override of the command line sets a path on this machine."""
    return override.lstrip("+").partition("=")[0] in PLACES


def keep_places(config: Config, folder: Path) -> None:
    """Write the paths of a run's data and weights beside its record."""
    places = {"task": {"data_dir": config.task.data_dir}, "model": {"weights": config.model.weights}}
    with atomic(folder / PLACES_FILE) as temporary:
        temporary.write_text(json.dumps(places), encoding="utf-8")


def with_places(config: Config, folder: Path) -> Config:
    """Return the configuration of a record with the paths that are kept beside the record, if the file exists.

    Raises:
        UserError: the file of paths is damaged or cannot be read.
    """
    file = folder / PLACES_FILE
    try:
        places = json.loads(file.read_bytes())
        task, model = {"data_dir": places["task"]["data_dir"]}, {"weights": places["model"]["weights"]}
    except FileNotFoundError:
        return config
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} is damaged ({error}): remove it to use the default places of data and weights"
        ) from error
    return config.having(task=task, model=model)

"""Find and read weights on this machine; refuse weights that do not fit, so that no layer stays random silently."""

import json
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from surm_bench.config import ModelConfig
from surm_bench.content.weights import WEIGHTS_FILE
from surm_bench.errors import UserError, unknown

logger = logging.getLogger(__name__)
EMBEDDED = Path(__file__).parent / "embedded"


def local_path(config: ModelConfig) -> Path | None:
    """Return the file or folder with the weights of ``config``; None if the weights come from the hub."""
    if config.weights is not None:
        path = Path(config.weights).expanduser()
        if not path.exists():
            raise UserError(f"model.weights={config.weights} does not exist: name a folder or a .safetensors file")
        return path
    match config.source:
        case "hub":
            return None
        case "embedded":
            return EMBEDDED / config.checkpoint
        case "package":
            return _inside_package(config)
    raise unknown("model source", config.source, ("hub", "package", "embedded"))


def _inside_package(config: ModelConfig) -> Path:
    """Return the folder that ``checkpoint`` names as package/folder; find the package without importing it."""
    package, _, folder = config.checkpoint.partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"the weights of model {config.name} are in the package {package}, which is not installed: "
            f"configs/model/{config.name}.yaml says how to install it"
        )
    return Path(spec.submodule_search_locations[0]) / folder


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a folder's model.safetensors; never read a pickle."""
    file = path / WEIGHTS_FILE if path.is_dir() else path
    if file.suffix != ".safetensors" or not file.is_file():
        wanted = f"name a .safetensors file or a folder with {WEIGHTS_FILE}"
        raise UserError(f"no weights at {file}: {wanted}; pickles are not read")
    with readable(file):
        return load_file(file)


def config_beside(path: Path) -> dict[str, Any]:
    """Return the fields of the config.json in a folder of weights; an empty dict if there is no such file."""
    file = path / "config.json"
    try:
        fields = json.loads(file.read_bytes()) if file.is_file() else {}
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error}): remove or repair it") from error
    return fields if isinstance(fields, dict) else {}


def warn_of_differences(path: Path, fields: dict[str, tuple[Any, Any]]) -> None:
    """Log a warning of the fields of a config.json, (in the file, in use), that are not in use as the file says."""
    differences = [f"{name} is {used}, not {given}" for name, (given, used) in fields.items() if given != used]
    if differences:
        advice = "if the weights need the other values, set them in the model's configuration"
        logger.warning("%s is not read: %s: %s", path / "config.json", "; ".join(differences), advice)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise a UserError of one line if the weights read in this block are damaged."""
    try:
        yield
    except SafetensorError as error:
        raise UserError(f"{path} is not a readable safetensors file: {error}") from error


def refuse_misfits(model: str, **misfits: Collection[str]) -> None:
    """Raise a UserError that names a few tensors of every kind of misfit (missing, misshapen, unexpected), if any."""
    parts = [f"{kind} {_some(sorted(names))}" for kind, names in misfits.items() if names]
    if parts:
        raise UserError(f"these weights do not have the architecture of {model}: {'; '.join(parts)}")


def _some(names: list[str], shown: int = 3) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")

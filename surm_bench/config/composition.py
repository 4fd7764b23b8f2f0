"""Compose configurations with Hydra from the files of the package and of the user. No torch here.

``compose`` calls Hydra. ``resolved`` gives the same values about fifty times faster, for experiments that need
thousands of configurations: Hydra reads each file once, and overrides are applied only to the groups they change.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from surm_bench.config.keys import Group
from surm_bench.config.model import ModelConfig
from surm_bench.config.places import escaped
from surm_bench.config.schema import GROUPS, Config
from surm_bench.config.values import plain
from surm_bench.errors import UserError, unknown
from surm_bench.system.installation import config_dir

TOP = ("seed", "results_dir", "rerun")  # the keys outside of groups
BLOCKS = (("model",), ("task",), ("adapter", "optimizer"), ("trainer",), ("tracking",))  # no block refers to another
ConfigStore.instance().store(name="schema", node=Config)
KEYS_HINT = "surm-bench run --cfg job lists all keys"
_added: list[Path] = []


class Choice(NamedTuple):
    """One file of a config group, for example ``lora`` of the group ``adapter``."""

    group: str
    name: str


def add_config_dir(folder: str | Path) -> None:
    """Add a folder in which groups and experiments are searched. Call this before anything is composed.

    Raises:
        UserError: the folder does not exist, or one of its files has the name of a file of the package. Hydra would
            read the package's file instead.
    """
    path = Path(folder).expanduser().resolve()
    if not path.is_dir():
        raise UserError(f"--config-dir {folder} is not a folder: name one with subfolders such as adapter and task")
    for file in sorted(path.rglob("*.yaml")):
        if (config_dir() / file.relative_to(path)).exists():
            raise UserError(f"{file} has the name of a file of surm-bench: give it another name")
    if path not in _added:
        _added.append(path)


def config_dirs() -> list[Path]:
    """Return the folders to search for config files: the package's folder, then the added folders."""
    return [config_dir(), *_added]


def with_architecture(model: ModelConfig) -> ModelConfig:
    """Add the fields of its config.json to a text model from the user's folders; return other models unchanged.

    Raises:
        UserError: the file is not the JSON of a model configuration.
    """
    files = [folder / "model" / f"{model.name}.json" for folder in config_dirs()[1:]]
    file = next((file for file in files if file.is_file()), None)
    if model.architecture is not None or file is None or model.family != "text":
        return model
    try:
        fields = json.loads(file.read_bytes())
        if not isinstance(fields.get("model_type"), str):
            raise ValueError("model_type is missing")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{file} is not the config.json of a transformers model: {error}") from error
    return replace(model, architecture=fields)


def choices(group: str) -> list[str]:
    """Return the names in a config group. A name in a subfolder has a slash: ``glue/rte``."""
    roots = [folder / group for folder in config_dirs()]
    return sorted(path.relative_to(root).with_suffix("").as_posix() for root in roots for path in root.rglob("*.yaml"))


def check_choices(overrides: Iterable[str]) -> None:
    """Refuse unknown choices of a group with one line: ``unknown adapter 'circulent': choose from adalora, ...``."""
    for override in overrides:
        key, given, value = override.partition("=")
        if key in GROUPS and given and "(" not in value:  # Hydra itself checks glob(...) and choice(...)
            known = choices(key)
            for choice in value.split(","):
                if choice.strip("'\" ") not in known:
                    raise UserError(f"{unknown(key, choice, known)} (for files of your own give --config-dir)")


def compose(overrides: Iterable[str] = ()) -> DictConfig:
    """Return the configuration of a command line.

    Raises:
        UserError: the configuration refuses an override.
    """
    return _hydra("config", overrides)


def resolved(overrides: Sequence[str]) -> Config:
    """Return the configuration of a command line with resolved references. Its parts are shared: do not change them.

    Raises:
        UserError: the configuration refuses an override.
    """
    top = tuple(override for override in overrides if _key(override) in TOP)
    others = [override for override in overrides if override not in top]
    try:
        return replace(
            _defaults(), **_top(top), **{name: group for part in _split(others) for name, group in _block(*part)}
        )
    except _NotInBlocks:
        return _resolved_as_a_whole(tuple(overrides))


def typed(cfg: DictConfig) -> Config:
    """Convert a composed configuration.

    Raises:
        UserError: a value is not possible for any key, or a key is unknown (Hydra's + adds any key).
    """
    values = plain(cfg)
    known = {"": Config, **GROUPS}
    for group, cls in known.items():
        names = {field.name for field in fields(cls)}
        if strange := [name for name in (values[group] if group else values) if name not in names]:
            raise UserError(f"unknown key {'.'.join(filter(None, (group, strange[0])))} ({KEYS_HINT})")
    return Config.of_document(values)


def editable(config: Config) -> DictConfig:
    """Return a configuration that accepts overrides. ``${`` in its texts and paths does not refer to other keys."""
    return OmegaConf.merge(OmegaConf.structured(Config), _literal(config.document()))


def _literal(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _literal(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_literal(value) for value in node]
    return escaped(node) if isinstance(node, str) else node


def read_files(overrides: Iterable[str]) -> None:
    """Let Hydra read all existing files that the overrides choose in one call: a call for each file is slower."""
    wanted = {choice for override in overrides if (choice := _choice(override))} - _files.keys()
    if new := sorted(choice for choice in wanted if choice.name in choices(choice.group)):
        composed = _hydra(None, [f"+{group}@{group}.f{number}={name}" for number, (group, name) in enumerate(new)])
        _files.update({choice: composed[choice.group][f"f{number}"] for number, choice in enumerate(new)})


def first_lines(error: Exception) -> str:
    """Return Hydra's message and its cause in one line.

    Hydra's advice to append a key stays only where any key is allowed, as in task.rename.
    """
    lines = [line for part in filter(None, (error, error.__cause__)) for line in str(part).splitlines()]
    advice = ("full_key", "reference_type", "object_type")
    if not any("is not in struct" in line for line in lines):
        advice = ("To append", *advice)
    return " ".join(
        dict.fromkeys(line.strip() for line in lines if line.strip() and not line.strip().startswith(advice))
    )


def value_of(override: str) -> Any:
    """Return the value of an override, with escapes and environment variables resolved.

    Raises:
        UserError: the override does not follow Hydra's grammar.
    """
    try:
        return OmegaConf.to_container(OmegaConf.create({"value": _value(override)}), resolve=True)["value"]
    except (HydraException, OmegaConfBaseException, _NotInBlocks) as error:
        raise UserError(f"{override} is not key=value in Hydra's grammar: {first_lines(error)}") from None


class _NotInBlocks(Exception):
    """Only Hydra itself can read these overrides, or refuse them with its own message."""


_files: dict[Choice, DictConfig] = {}


def _hydra(name: str | None, overrides: Iterable[str]) -> DictConfig:
    added = [f"hydra.searchpath={[f'file://{folder}' for folder in _added]}"] if _added else []
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return hydra.compose(name, [*added, *overrides])
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(first_lines(error)) from error


@cache
def _resolved_as_a_whole(overrides: tuple[str, ...]) -> Config:
    cfg = compose(overrides)
    try:
        return typed(cfg)
    except OmegaConfBaseException as error:
        raise UserError(first_lines(error)) from error


@cache
def _composed_defaults() -> DictConfig:
    return compose()


@cache
def _defaults() -> Config:
    return typed(_composed_defaults())


def _split(overrides: Sequence[str]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the groups of each block, with the overrides of these groups."""
    of_blocks: dict[tuple[str, ...], list[str]] = {block: [] for block in BLOCKS}
    for override in overrides:
        of_blocks[_block_of(override)].append(override)
    return [(block, tuple(given)) for block, given in of_blocks.items() if given or len(block) > 1]


@cache
def _block_of(override: str) -> tuple[str, ...]:
    group = _key(override).partition(".")[0]
    for block in BLOCKS:
        if group in block:
            return block
    raise _NotInBlocks


def _choice(override: str) -> Choice | None:
    group, _, name = override.partition("=")
    return Choice(group, name) if group in GROUPS else None


@cache
def _top(overrides: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of the keys outside of groups, as far as they are given."""
    given = OmegaConf.structured(Config)
    try:
        for override in overrides:
            _update(given, override)
        return plain(OmegaConf.masked_copy(given, [_key(override) for override in overrides]))
    except (HydraException, OmegaConfBaseException):
        raise _NotInBlocks from None


@cache
def _block(groups: tuple[str, ...], overrides: tuple[str, ...]) -> list[tuple[str, Group]]:
    """Return a few groups with their names, composed without the other groups."""
    chosen = {choice.group: choice for override in overrides if (choice := _choice(override))}
    read_files(overrides)
    try:
        block = OmegaConf.create({group: _typed(group, chosen.get(group)) for group in groups})
        OmegaConf.set_struct(block, True)
        for override in overrides:
            if _choice(override) is None:
                _update(block, override)
        return [(name, GROUPS[name](**values)) for name, values in plain(block).items()]
    except (HydraException, OmegaConfBaseException, KeyError):
        raise _NotInBlocks from None


def _update(block: DictConfig, override: str) -> None:
    """Set the value of a key, or add a new key to a dict, such as ``+adapter.peft.init_std=0.1``."""
    key, is_new = _key(override), override.startswith("+")
    if is_new:
        place, _, name = key.rpartition(".")
        parent = OmegaConf.select(block, place)
        if OmegaConf.get_type(parent) is not dict or name in parent:
            raise _NotInBlocks
    OmegaConf.update(block, key, _value(override), merge=True, force_add=is_new)


def _key(override: str) -> str:
    return override.partition("=")[0].removeprefix("+")


@cache
def _typed(group: str, choice: Choice | None) -> DictConfig:
    """Return a group with the values of its file and the types of the schema.

    The result is cached: do not change it (OmegaConf.create copies it).
    """
    defaults = _composed_defaults()[group]
    if choice is None:
        return defaults
    return OmegaConf.merge(OmegaConf.structured(OmegaConf.get_type(defaults)), _files[choice])


@cache
def _value(override: str):
    parsed = OverridesParser.create().parse_override(override)
    if parsed.is_sweep_override():
        raise _NotInBlocks
    return parsed.value()

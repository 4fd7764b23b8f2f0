"""Digests of the data and weights of a configuration: declared by the experiment, or computed by reading them once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

from surm_bench.config import Config, ModelConfig, TaskConfig
from surm_bench.config.composition import value_of, with_architecture
from surm_bench.config.places import is_place
from surm_bench.content import FileCache
from surm_bench.errors import UserError

PLACE_KEYS = {"task": "data_dir", "model": "weights"}  # the key that names the local files of each group


@dataclass(frozen=True)
class Content:
    """The data or weights that a group of the configuration reads, which are read once for equal groups.

    Attributes:
        key: the group's values as JSON, to compare groups.
        digest: the declared digest, if any; ``config`` has none.
    """

    group: str
    name: str
    key: str
    digest: str | None
    config: ModelConfig | TaskConfig = field(compare=False)


def declared(config: Config, places: Sequence[str] = ()) -> list[Content]:
    """Return the contents that a resolved configuration reads.

    Args:
        places: overrides that name local files: task.data_dir=…, model.weights=….
    """
    given = {place.partition("=")[0]: value_of(place) for place in places if is_place(place)}
    contents = []
    for name, place in PLACE_KEYS.items():
        group = getattr(config, name)
        read = replace(group, digest=None, **{place: given.get(f"{name}.{place}", getattr(group, place))})
        contents.append(Content(name, group.name, json.dumps(asdict(read), sort_keys=True), group.digest, read))
    return contents


def with_content(config: Config, places: Sequence[str] = ()) -> Config:
    """Return the resolved configuration with the digests of its data and weights, and a folder's number of classes.

    Raises:
        UserError: data or weights without a declared digest cannot be read here.
    """
    read: dict[str, dict[str, Any]] = {}
    for content in declared(config, places):
        read[content.group] = {"digest": content.digest or _once(read_content, content)}
        if content.group == "task" and config.task.num_labels is None:
            read["task"]["num_labels"] = _once(_read_task, content).num_labels
        if content.group == "task" and config.task.positive_class is not None:
            read["task"]["label_names"] = _once(_read_task, content).label_names
    read["model"]["architecture"] = with_architecture(config.model).architecture
    return config.having(**read)


def read_label_names(config: Config) -> list[str] | None:
    """Return the class names of a resolved configuration, read once; raise UserError if its data are not available."""
    (task,) = (content for content in declared(config) if content.group == "task")
    return _once(_read_task, task).label_names


def read_content(content: Content, files: FileCache | None = None) -> str:
    """Return the digest of the data or weights on this machine; raise UserError if they are not available."""
    from surm_bench.models.digest import model_digest  # imports torch, so only when needed
    from surm_bench.tasks import TaskReader

    if content.group == "model":
        return model_digest(content.config, files)
    return TaskReader(content.config, files).digest


def _read_task(content: Content) -> TaskConfig:
    from surm_bench.tasks import TaskReader

    return TaskReader(content.config).config


def _once(read: Callable[[Content], Any], content: Content) -> Any:
    value, refusal = _read_or_refused(read, content)
    if refusal:
        raise UserError(f"{content.group} {content.name} has no declared digest and is not available here: {refusal}")
    return value


@cache  # errors are cached too: a search for missing files may take seconds
def _read_or_refused(read: Callable[[Content], Any], content: Content) -> tuple[Any, str]:
    try:
        return read(content), ""
    except UserError as error:
        return None, str(error)

"""The content that a configuration reads: declared by the experiment, or else found by reading it once."""

import json
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from surm_bench.config import ModelConfig, TaskConfig
from surm_bench.content import FileCache
from surm_bench.errors import UserError

PLACES = {"task": "data_dir", "model": "weights"}  # the key that says where local files are


class Content(NamedTuple):
    """What one group of the configuration reads: its keys as JSON, and the declared digest, if any."""

    group: str
    name: str
    config: str
    digest: str | None


def declared(config: dict, places: Sequence[str] = ()) -> list[Content]:
    """The contents that a resolved configuration reads.

    Args:
        places: overrides that say where local files are: task.data_dir=…, model.weights=….
    """
    given = {key: value for key, _, value in (place.partition("=") for place in places)}
    found = []
    for group, place in PLACES.items():
        values = {**config[group], place: given.get(f"{group}.{place}", config[group][place])}
        content = json.dumps({**values, "digest": None}, sort_keys=True)
        found.append(Content(group, values["name"], content, values["digest"]))
    return found


def with_content(config: dict, places: Sequence[str] = ()) -> dict:
    """The resolved configuration with the digests of its data and weights.

    Raises:
        UserError: a digest is neither declared nor can the content be read here.
    """
    digests = {content.group: content.digest or _found(content) for content in declared(config, places)}
    return config | {group: config[group] | {"digest": digest} for group, digest in digests.items()}


def read_content(content: Content, files: FileCache | None = None) -> str:
    """The digest of what is here; raises UserError where nothing is."""
    from surm_bench.models.digest import model_digest  # torch: not before it is needed
    from surm_bench.tasks.digest import task_digest

    kind, digest = {"task": (TaskConfig, task_digest), "model": (ModelConfig, model_digest)}[content.group]
    return digest(kind(**json.loads(content.config)), files)


@cache
def _found(content: Content) -> str:
    try:
        return read_content(content)
    except UserError as error:
        raise UserError(f"{content.group} {content.name} declares no digest, and is not here: {error}") from None

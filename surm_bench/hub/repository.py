"""A repository of the hub, and the folder where the hub's libraries keep its downloaded files."""

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Repository:
    """A repository at a revision.

    Attributes:
        revision: a commit, a branch or a tag; None for the branch main.
        kind: "model" or "dataset".
    """

    name: str
    revision: str | None
    kind: str = "model"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit; the files of a commit never change."""
        return COMMIT.fullmatch(self.revision or "") is not None

    @property
    def folder(self) -> Path:
        """The folder of the repository in the local cache."""
        return Path(constants.HF_HUB_CACHE) / f"{self.kind}s--{self.name.replace('/', '--')}"

    @property
    def cached_commit(self) -> str | None:
        """The commit of the revision in the local cache; None if the cache does not know the commit."""
        if self.is_pinned:
            return self.revision
        reference = self.folder / "refs" / (self.revision or "main")
        return reference.read_text().strip() if reference.is_file() else None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name} at revision {self.revision}"

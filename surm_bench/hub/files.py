"""Download files of a repository into the local cache once, and compare them with the hub's digests."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import huggingface_hub

from surm_bench.content import FileCache
from surm_bench.errors import UserError
from surm_bench.hub.access import hub_access
from surm_bench.hub.needs import check_download
from surm_bench.hub.reach import is_reachable
from surm_bench.hub.refusals import REASONS, refusal
from surm_bench.hub.repository import Repository
from surm_bench.hub.waiting import Progress, waited

DIGEST = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")  # git's SHA-1 of a small file, SHA-256 of a file in LFS

Choice = Callable[[Collection[str]], Sequence[str]]


class Listed(NamedTuple):
    """The hub's entry of a file: its size in bytes and its digest; the digest is None if it is not known."""

    size: int
    digest: str | None


def fetch(repository: Repository, choose: Choice) -> Path:
    """Return the folder with the chosen files of a repository at its revision; download missing files.

    If the cache has all chosen files of a pinned revision, no request is sent. Each file is compared with its digest on
    the hub.

    Args:
        choose: returns the wanted names from the names of all files; raises UserError if a wanted file is missing.

    Raises:
        OutOfReach: the hub is out of reach and the local cache does not have the files.
        UserError: the hub does not have the files or refuses access, or files are damaged.
    """
    try:
        cached = _cached(repository, choose) if repository.is_pinned or not is_reachable() else None
        if cached is not None:
            _compare(repository, *cached)
            return cached[0]
    except OSError as error:  # the cache cannot be read
        raise refusal(str(repository), error) from error
    check_download(str(repository))
    with hub_access(str(repository)):
        folder, files, new = waited(lambda progress: _download(repository, choose, progress))
    _compare(repository, folder, files, new)
    return folder


def _cached(repository: Repository, choose: Choice) -> tuple[Path, dict[str, Listed]] | None:
    """Return the folder in the local cache and the chosen files if all files are there; send no request.

    A cache of an older library has no list of the repository's files. It is used only if the hub is out of reach.
    """
    commit = repository.cached_commit
    folder = repository.folder / "snapshots" / str(commit)
    listing = _listing(repository, commit) if commit is not None else None
    if not folder.is_dir() or (listing is None and is_reachable()):
        return None
    if listing is None:
        here = [path for path in folder.rglob("*") if path.is_file()]
        listing = {path.relative_to(folder).as_posix(): Listed(path.stat().st_size, None) for path in here}
    try:
        files = {name: listing[name] for name in choose(listing)}
    except UserError:
        return None  # the hub may have a different list
    return (folder, files) if all((folder / name).is_file() for name in files) else None


def _listing(repository: Repository, commit: str) -> dict[str, Listed] | None:
    """Return the files of a commit that the local cache lists; None if the cache has no readable list."""
    try:
        files = json.loads((repository.folder / "trees" / f"{commit}.json").read_bytes())["files"]
        return {name: Listed(file["size"], file.get("lfs_sha256") or file["blob_id"]) for name, file in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _listed(repository: Repository, progress: Progress) -> tuple[Path, dict[str, Listed]]:
    """Return the folder of the revision in the local cache, and the files that the hub lists."""
    options = {"allow_patterns": [], "tqdm_class": progress.bar}  # gets the commit and the list, no file
    where = {"repo_type": repository.kind, "revision": repository.revision}
    try:
        folder = Path(huggingface_hub.snapshot_download(repository.name, **where, **options))
        return folder, _listing(repository, folder.name) or _asked(repository, folder.name)
    except (TypeError, KeyError, AttributeError) as error:  # JSON, but not a list of files
        raise UserError(f"{repository} cannot be read: {REASONS['FileMetadataError']}") from error


def _asked(repository: Repository, commit: str) -> dict[str, Listed]:
    """Ask the hub for the files of a commit."""
    options = {"repo_type": repository.kind, "revision": commit, "recursive": True}
    entries = huggingface_hub.HfApi().list_repo_tree(repository.name, **options)
    files = [entry for entry in entries if hasattr(entry, "blob_id")]
    return {file.path: Listed(file.size, file.lfs.sha256 if file.lfs else file.blob_id) for file in files}


def _download(repository: Repository, choose: Choice, progress: Progress) -> tuple[Path, dict[str, Listed], list[str]]:
    """Download missing files; return the folder, the chosen files, and the names of the files downloaded now."""
    folder, listing = _listed(repository, progress)
    progress.hear()
    try:
        files = {name: listing[name] for name in choose(listing)}
    except UserError:
        _forget_listing(repository, folder.name)
        raise
    new = [file for file in files if not (folder / file).is_file()]
    progress.expect(repository.name, sum(files[file].size for file in new))
    for file in new:
        options = {"repo_type": repository.kind, "revision": folder.name, "tqdm_class": progress.bar}
        arrived = Path(huggingface_hub.hf_hub_download(repository.name, file, **options))
        if arrived != folder / file:
            raise UserError(f"{file} of {repository} cannot be read: the hub sent another revision: run again")
        progress.hear()
    return folder, files, new


def _compare(repository: Repository, folder: Path, files: dict[str, Listed], new: Collection[str] = ()) -> None:
    """Refuse files with another digest than the hub's; delete damaged files that were downloaded now."""
    damaged = [name for name, listed in files.items() if not _is_whole(folder / name, listed)]
    for name in set(damaged) & set(new):
        path = folder / name  # a link to a blob, which may be a link to a blob that several repositories share
        for arrived in (path.resolve(), _link(path), path):
            arrived.unlink(missing_ok=True)
        _forget_listing(repository, folder.name)
    if fresh := [name for name in damaged if name in new]:
        raise UserError(
            f"{', '.join(fresh)} of {repository} arrived damaged, with another digest than the hub's, and was deleted: "
            "run again; if this happens again, something between this machine and the hub changes downloads"
        )
    if damaged:
        places = " and ".join(str((folder / name).resolve()) for name in damaged)
        what = f"{', '.join(damaged)} of {repository}"
        raise UserError(f"{what} is damaged in the local cache: delete {places} and run again")


def _is_whole(path: Path, listed: Listed) -> bool:
    """Return whether a file has the digest that the hub lists or, if none is listed, the digest in its blob's name."""
    expected = listed.digest or _link(path).name
    return not DIGEST.fullmatch(expected) or _digest(path, expected) == expected


def _link(path: Path) -> Path:
    """Return the blob, named by its digest, that a file of a snapshot links to, or the file itself without a link."""
    return path.parent / path.readlink() if path.is_symlink() else path


def _digest(path: Path, like: str) -> str:
    """Return a file's digest, of the same kind as the digest ``like``: SHA-256 for 64 digits, else git's SHA-1."""

    def compute() -> str:
        with path.open("rb") as opened:
            if len(like) == 64:
                return hashlib.file_digest(opened, "sha256").hexdigest()
            return hashlib.sha1(b"blob %d\0" % path.stat().st_size + opened.read(), usedforsecurity=False).hexdigest()

    return FileCache().get([path], f"digest of the hub, {len(like)} digits", compute)


def _forget_listing(repository: Repository, commit: str) -> None:
    """Delete the cached list of files, which may be wrong, so that the next run asks the hub for it again."""
    with suppress(OSError):
        (repository.folder / "trees" / f"{commit}.json").unlink(missing_ok=True)

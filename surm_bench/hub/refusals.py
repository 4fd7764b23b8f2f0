"""Messages about failures of the hub, each in one line: what happened, and what to do."""

import errno
import re
from collections.abc import Iterator

from huggingface_hub import constants

from surm_bench.errors import UserError
from surm_bench.hub.reach import why_lost

LOGIN = "log in with `hf auth login`"
NO_HUB = (
    "name local data with --data (make: DATA=, a run: task.data_dir=) and local weights with --weights (make: "
    "WEIGHTS=, a run: model.weights=), or run `make demo`, which needs no downloads"
)
XET = "set HF_HUB_DISABLE_XET=1 to download over HTTP, without the hub's Xet store"
FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
# Errors of the hub's libraries by class name, because the HTTP library and all its classes have changed twice.
REASONS = {
    "GatedRepoError": f"access to it is restricted: ask for access on its page, then {LOGIN}",
    "DisabledRepoError": "access to it is disabled by the hub: choose another",
    "RevisionNotFoundError": "this revision does not exist: name an existing commit, branch or tag, or none",
    "RepositoryNotFoundError": f"this repository does not exist or is private: check its name, or {LOGIN}",
    "EntryNotFoundError": "a file is missing in the repository",
    "HFValidationError": "this is not the name of a repository: write owner/name",
    "ProxyError": "the proxy refuses the connection: check HTTPS_PROXY and NO_PROXY",
    "TooManyRedirects": "the server redirects without end: check HF_ENDPOINT and the proxy",
    "FileMetadataError": "the answer is not from the hub: check HF_ENDPOINT, the proxy and login pages of the network",
    "JSONDecodeError": "the answer is not from the hub: check HF_ENDPOINT, the proxy and login pages of the network",
    "LocalTokenNotFoundError": f"a token is needed, and this machine has none: {LOGIN}",
}
VAGUE = ("LocalEntryNotFoundError", "IncompleteSnapshotError")  # raised for any failure: the cause has the reason
STATUSES = {
    401: f"the token is not valid or has expired: {LOGIN}, or unset HF_TOKEN",
    403: "this account may not read it: ask for access on its page, or use a token that may read it",
    404: "this file or repository does not exist: check name, revision and HF_ENDPOINT",
    407: "the proxy asks for a login: check HTTPS_PROXY",
    416: "the download cannot be continued: run again",
    429: f"too many requests from this machine: wait some minutes, or {LOGIN}",
}


class OutOfReach(UserError):
    """The error that the hub is out of reach and its local cache does not have the wanted files."""


def out_of_reach(what: str) -> OutOfReach:
    """Return the refusal for a hub that is out of reach."""
    trouble = f"the Hugging Face hub is out of reach ({why_lost()}), and its local cache lacks {what}"
    return OutOfReach(f"{trouble}: {NO_HUB}")


def refusal(what: str, error: BaseException) -> UserError:
    """Return the refusal for an error of the hub's libraries while ``what`` was read."""
    causes = list(_chain(error))
    reasons = (_reason(cause) for cause in causes if type(cause).__name__ not in VAGUE)
    reason = next(filter(None, reasons), None) or _first_line(causes[-1])
    return UserError(f"{what} cannot be read from the Hugging Face hub: {reason}")


def is_silent(error: BaseException) -> bool:
    """Return whether an error means that the hub does not answer now and will not answer a moment later."""
    statuses = (getattr(getattr(cause, "response", None), "status_code", 0) or 0 for cause in _chain(error))
    names = {kind.__name__ for cause in _chain(error) for kind in type(cause).__mro__}
    return bool(names & {"TransportError", "TimeoutError"}) or any(
        status == 429 or status >= 500 for status in statuses
    )


def _reason(error: BaseException) -> str | None:
    """Return the reason for an error and what to do; None if the error is not known."""
    names = [kind.__name__ for kind in type(error).__mro__]
    text = str(error)
    if isinstance(error, OSError) and (error.errno in FULL or "Not enough disk space" in text):
        return f"the disk of {constants.HF_HOME} is full: make room, or set HF_HOME to a folder on another disk"
    if isinstance(error, OSError) and error.errno in FORBIDDEN:
        return f"{error.filename or constants.HF_HOME} cannot be read or written: set HF_HOME to another folder"
    if "Xet" in names[0] or "xet" in type(error).__module__ or re.search(r"\b(xet|cas)\b", text, re.IGNORECASE):
        return f"the hub's Xet store does not answer: {XET}"
    for name in names:
        if name in REASONS:
            missing = re.search(r"/resolve/[^/]+/([^\s?]+?)\.?(\s|$)", text) if name == "EntryNotFoundError" else None
            return f"file {missing[1]} does not exist at this revision" if missing else REASONS[name]
    if status := _status(error):
        trouble = "the hub has trouble (HTTP status {}): try again later"
        return STATUSES.get(status) or trouble.format(status)
    if "Consistency check failed" in text:
        return "a file arrived with another length than the hub states: run again"
    if "TimeoutException" in names or isinstance(error, TimeoutError):
        return f"no answer in time ({_first_line(error)}): try again later; if only files do not arrive, {XET}"
    if "TransportError" in names or isinstance(error, ConnectionError):
        return f"the connection broke off ({_first_line(error)}): run again"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, its cause, the cause of its cause, and so on."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def _status(error: BaseException) -> int:
    """Return the HTTP status of an error; 0 if the error has none."""
    return getattr(getattr(error, "response", None), "status_code", 0)


def _first_line(error: BaseException) -> str:
    """Return an error's type and first line; addresses lose their query, which may hold a signature."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.sub(r"\?[^\s'\"]+", "", lines[0]) if lines else "no reason given"
    return f"{type(error).__name__}: {text}"

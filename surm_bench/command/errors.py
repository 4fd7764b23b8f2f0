"""How a command ends: an exit code, and one line on standard error for whatever cannot be done."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence

from surm_bench.errors import UserError
from surm_bench.storage import FULL

# What a path that was given may be: anything else is an error of ours
PLACES = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError, PermissionError)
NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)  # a name too long, links in a circle, a read-only disk


def exit_code(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """What the command returns: 0, or 1 where runs failed; 2 for bad input, 128 and its number for a signal."""
    try:
        return command(arguments)
    except UserError as error:
        complain(error)
        return 2
    except OSError as error:
        if error.errno in FULL:
            complain(f"{error}: free space, then give the same command again to continue")
        elif (isinstance(error, PLACES) or error.errno in NAMES) and error.filename is not None:
            complain(f"{error.filename}: {error.strerror}: name another place")
        else:
            raise
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "surm_bench":
            raise
        complain(f"this command needs {error.name}, which is not installed: pip install 'surm-bench[bench]'")
        return 2
    except KeyboardInterrupt as error:
        detail = f" ({error})" if str(error) else ""  # of a run: which signal, and that its state is saved
        complain(f"interrupted{detail}; give the same command again to continue")
        return 128 + getattr(error, "signal_number", signal.SIGINT)


def complain_of(problems: Iterable[str]) -> int:
    """Tell each problem once; the exit code: 1 where there is one."""
    distinct = dict.fromkeys(problems)
    for problem in distinct:
        complain(problem)
    return 1 if distinct else 0


def complain(problem: object) -> None:
    """Tell a problem in one line, once of however many processes."""
    if os.environ.get("RANK", "0") == "0":
        print(f"surm-bench: {problem}".replace("\n", " "), file=sys.stderr)

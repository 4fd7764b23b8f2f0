"""How a command ends: with an exit code, and one line on standard error for each problem."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence

from surm_bench.errors import UserError
from surm_bench.system.storage import FULL

# Errors that a path given by the user may cause; any other error of a path is a bug of this package
PATH_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError, PermissionError)
PATH_ERRNOS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)  # a name too long, links in a circle, a read-only disk


def exit_code(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run the command and return its exit code.

    The code is 0 on success, 1 if runs failed, 2 for bad input, and 128 plus the signal's number after a signal.
    """
    try:
        code = command(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of the output, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in the buffer goes nowhere
        return 128 + signal.SIGPIPE
    except UserError as error:
        complain(error)
        return 2
    except OSError as error:
        if error.errno in FULL:
            complain(f"{error}: free space, then give the same command again to continue")
        elif (isinstance(error, PATH_ERRORS) or error.errno in PATH_ERRNOS) and error.filename is not None:
            complain(f"{error.filename}: {error.strerror}: name another path")
        else:
            raise
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "surm_bench":
            raise
        complain(f"this command needs {error.name}, which is not installed: pip install 'surm-bench[bench]'")
        return 2
    except KeyboardInterrupt as error:
        detail = f" ({error})" if str(error) else ""  # a run names the signal and says that its state is saved
        complain(f"interrupted{detail}; give the same command again to continue")
        return 128 + getattr(error, "signal_number", signal.SIGINT)


def complain_of(problems: Iterable[str]) -> int:
    """Print each distinct problem once; return the exit code: 1 if there is a problem, else 0."""
    distinct = dict.fromkeys(problems)
    for problem in distinct:
        complain(problem)
    return 1 if distinct else 0


def complain(problem: object) -> None:
    """Print a problem in one line, from only one process of a distributed run."""
    if os.environ.get("RANK", "0") == "0":
        print(f"surm-bench: {problem}".replace("\n", " "), file=sys.stderr)

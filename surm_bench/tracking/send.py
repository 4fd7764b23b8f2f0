"""Send a W&B file while it grows: ``python -m surm_bench.tracking.send FILE``, with stdin open during the run."""

import os
import runpy
import sys
import threading
import time

SECONDS = 15  # how long sending continues after a run was killed


def _outlive_the_run() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the process of the run has ended, for any reason
    time.sleep(SECONDS)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_outlive_the_run, daemon=True).start()
    sys.argv = ["wandb", "beta", "sync", "--live", sys.argv[1]]
    runpy.run_module("wandb", run_name="__main__")

"""The process that sends the W&B file of a run while the file grows."""

import os
import subprocess
import sys
from pathlib import Path


class Upload:
    """A process that sends a file; the process's output is in ``logs/upload.log`` beside the file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        # without the service of the run, which would otherwise wait for the server, too
        environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        with (file.parent / "logs" / "upload.log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "surm_bench.tracking.send", str(file)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C must reach only the run, which then still sends its end
            )

    def end(self, seconds: float) -> bool:
        """Wait at most this many seconds for the upload of a finished file; return whether the server has all of it."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        return self.file.with_suffix(".wandb.synced").exists()  # the exit code is also 0 after a refusal

"""The process that sends a run's W&B file while it grows."""

import os
import subprocess
import sys
from pathlib import Path


class Upload:
    """Sends a file; what it prints lies in ``logs/upload.log`` beside the file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        # not the service of the run, which would then wait for the server too
        environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        with (file.parent / "logs" / "upload.log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "surm_bench.tracking.send", str(file)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the run, which then still sends its end
            )

    def end(self, seconds: float) -> bool:
        """Whether the server has the whole file, for which this waits so long; the file must be finished."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        return self.file.with_suffix(".wandb.synced").exists()  # the exit code is 0 after a refusal too

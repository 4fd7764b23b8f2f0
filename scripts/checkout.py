"""To be imported first: a script runs the code of the checkout that it lies in, whatever copy is installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

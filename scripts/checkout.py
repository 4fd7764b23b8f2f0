"""Import this first: it makes a script run the code of its own checkout, whatever copy is installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

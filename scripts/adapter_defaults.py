"""Write surm_bench/adapters/defaults.json: the defaults of every PEFT config class of configs/adapter.

The ids of runs are computed with these defaults. A field that PEFT or we add later is written there with the value that
means "as before". A default that changes keeps its old value there, and the config files then set the value they want.
"""

import checkout  # noqa: F401  (before the package)

# isort: split
import json
from pathlib import Path

from omegaconf import OmegaConf

import surm_bench.adapters  # noqa: F401  (before peft)
from surm_bench.config.identity import DEFAULTS, class_name, installed_defaults
from surm_bench.system.installation import config_dir

if __name__ == "__main__":
    files = sorted((config_dir() / "adapter").glob("*.yaml"))
    targets = {OmegaConf.load(file).peft._target_ for file in files}
    known = json.loads(DEFAULTS.read_text()) if DEFAULTS.exists() else {}
    for target in sorted(targets):
        name = class_name(target)
        known[name] = installed_defaults(target) | known.get(name, {})
    Path(DEFAULTS).write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")

"""The Hugging Face hub: download the files of a pinned revision and compare their digests; one line for a failure."""

import logging
import warnings

from surm_bench.hub.access import hub_access
from surm_bench.hub.files import fetch
from surm_bench.hub.needs import check_reach, downloads
from surm_bench.hub.reach import is_reachable
from surm_bench.hub.refusals import OutOfReach, out_of_reach
from surm_bench.hub.repository import Repository
from surm_bench.hub.waiting import waited

__all__ = [
    "OutOfReach",
    "Repository",
    "check_reach",
    "downloads",
    "fetch",
    "hub_access",
    "is_reachable",
    "out_of_reach",
    "waited",
]

warnings.filterwarnings("ignore", "Not enough free disk space")  # full disks are refused in a line of our own
# These libraries log a line for each request and each retry, with signed addresses.
for _name in ("httpx", "httpx2", "httpcore", "huggingface_hub"):
    logging.getLogger(_name).setLevel(logging.ERROR)

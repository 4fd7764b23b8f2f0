"""What was passed over in a data set, told in one line, once in a process."""

import logging
from functools import cache

logger = logging.getLogger(__name__)


@cache
def tell(message: str) -> None:
    """Write a line to the log."""
    logger.warning("%s", message)

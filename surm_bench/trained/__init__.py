"""Use of a finished run's model: score it again, predict with it, export it. Nothing here trains."""

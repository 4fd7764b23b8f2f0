"""Runs: from a configuration to its record."""

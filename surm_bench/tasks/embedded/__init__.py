"""Data sets that need no download: real handwritten digits, and GLUE-shaped tasks over a generated language."""

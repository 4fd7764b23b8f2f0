"""Data sets without a download: real handwritten digits, and tasks in the format of GLUE in a generated language."""

"""PEFT's own tests, run over our methods by ``make test-peft``: our cases, and the exceptions, each with its reason."""

"""Our methods, one in each file: a config, a module with the mathematics, and the line that registers both."""

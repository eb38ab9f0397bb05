"""From a module to a proven bundle: graph, convert, run, compare."""

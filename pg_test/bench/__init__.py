"""make bench: this extension and its peers export the same warm tables, alternating, in one run."""

"""Training data formats for import, one module each. `detection.read` chooses the format by the row's keys."""

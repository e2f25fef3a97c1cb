"""Formats of training data that the dataset imports, one module each. `detection.read` chooses by the row's keys."""

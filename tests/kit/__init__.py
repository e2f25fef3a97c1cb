"""The test kit: real servers that tests and benchmarks can script. Never part of the product."""

"""The test kit: real servers that tests and benchmarks can script. Not part of the product."""

"""Rules of everyday teams, each taught to the embedded model from few corrected rows: how often the loop closes.

Run: python -m benchmarks.learning_rules --subset (needs `make train`; minutes per case)

A case is a rule, a seed and a number of corrected rows. It is planned, trained and gated as a run of the daemon, and
then measured outside the gate: on tasks of the rule that occur in no row, and on ordinary prompts.
"""

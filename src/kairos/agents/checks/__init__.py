"""What the guardian checks an answer for: one kind of check a file, each giving an `CheckResult`."""

"""The guardian's checks, one kind per module. Each returns a `CheckResult`."""

def test_adds():
    assert add(2, 3) == 5  # noqa: F821  # pyright: ignore[reportUndefinedVariable] - the answer's function

"""The dashboard's client is generated from the current API."""

from scripts.openapi import FILE, text


def test_openapi_file_is_current():
    assert FILE.read_text() == text(), "run: python -m scripts.openapi && (cd dashboard && npm run generate)"

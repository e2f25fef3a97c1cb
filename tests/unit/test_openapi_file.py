"""The dashboard's client is made of the API as it is."""

from scripts.openapi import FILE, text


def test_the_description_of_the_api_is_the_one_that_the_dashboard_was_built_with():
    assert FILE.read_text() == text(), "run: python -m scripts.openapi && (cd dashboard && npm run generate)"

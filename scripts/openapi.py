"""Write dashboard/openapi.json, from which the dashboard's typed client is generated: python -m scripts.openapi

Then run `npm run generate` in dashboard/. A test compares the file with the API.
"""

from __future__ import annotations

import json
from pathlib import Path

from kairos.api.app import create_app
from kairos.api.components import ApiComponents
from kairos.config import Settings

FILE = Path(__file__).parents[1] / "dashboard" / "openapi.json"


def text() -> str:
    """Return the OpenAPI description of the current API."""
    return json.dumps(create_app(ApiComponents(Settings())).openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())

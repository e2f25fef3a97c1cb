"""Create and verify API keys: `kairos_<prefix>_<secret><checksum>`, bound to one project, stored as a keyed hash.

The checksum (CRC-32, six characters of base 62, like GitHub's tokens) detects typing errors, and lets secret scanners
recognise keys, without a database query.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
import zlib

from kairos.api.access.tokens import TokenKeys
from kairos.db.engine import Database
from kairos.db.models import ApiKeyRow
from kairos.db.repositories.access import members
from kairos.tenancy import NOBODY, ProjectId

ALPHABET = string.digits + string.ascii_letters
FORM = re.compile(r"^kairos_([0-9A-Za-z]{8})_([0-9A-Za-z]{40})([0-9A-Za-z]{6})$")


def new_key() -> tuple[str, str]:
    """A new key with 238 random bits, and its prefix."""
    prefix, secret = (_random(length) for length in (8, 40))
    body = f"kairos_{prefix}_{secret}"
    return body + _checksum(body), prefix


def looks_like_key(text: str) -> bool:
    return text.startswith("kairos_")


async def find(database: Database, keys: TokenKeys, given: str) -> tuple[ProjectId, ApiKeyRow] | None:
    """The project and the row of a valid key, whose use is recorded; None for any other text."""
    form = FORM.match(given)
    if form is None or _checksum(given[:-6]) != form[3]:
        return None
    hashed = await keys.keyed_hash(given)
    async with database.scope(NOBODY) as session:
        places = await members.keys_by_prefix(session, form[1])
    for place in places:
        if hmac.compare_digest(place.key_hash, hashed):
            project_id = ProjectId(place.project_id)
            async with database.project(project_id) as session:
                row = await members.use_key(session, place.id)
            return (project_id, row) if row else None
    return None


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    number, text = zlib.crc32(body.encode()), ""
    while number:
        number, rest = divmod(number, len(ALPHABET))
        text = ALPHABET[rest] + text
    return text.rjust(6, "0")

"""Revokes the app role's access to password hashes and signing keys, and adds the API key to tickets."""

from pathlib import Path

from alembic import op

from kairos.db.migrations.security import role_name, system_function

revision = "0007"
down_revision = "0006"

SYSTEM_FUNCTIONS = (
    "kairos_account(wanted text)",
    "kairos_password_hash(wanted uuid)",
    "kairos_rehash_password(wanted uuid, old text, new text)",
    "kairos_set_password(wanted uuid, new text, kept_session uuid)",
    "kairos_spend_link(wanted bytea, new text)",
    "kairos_access_keys()",
    "kairos_add_access_key(new_kid text, new_secret bytea)",
    "kairos_retire_access_keys(but text, life interval)",
    "kairos_shared_secret(wanted text, fresh bytea)",
    "kairos_ended_rights(users uuid[], sessions uuid[], keys uuid[], projects uuid[])",
)


def upgrade() -> None:
    op.execute(Path(__file__).with_suffix(".sql").read_text().replace("{app}", role_name("app_role")))
    for signature in SYSTEM_FUNCTIONS:
        system_function(signature, None, None)


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")

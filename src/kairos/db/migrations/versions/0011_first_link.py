"""Adds a function that returns the first operator while no operator has a password."""

from kairos.db.migrations.security import grant_lookup

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    grant_lookup(
        "kairos_operator_without_password()",
        "uuid",
        """select id from users where operator and disabled_at is null and not exists (
             select from users where operator and disabled_at is null and password_hash is not null
           ) order by created_at, id limit 1""",
    )


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")

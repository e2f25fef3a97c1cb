"""Stores e-mail addresses in the folded form used for lookups (`kairos.folding`)."""

from alembic import op
from sqlalchemy import text

from kairos.folding import fold_email

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Fold all addresses. If another account already has the folded form, an account keeps its own, which is looked up
    first."""
    connection = op.get_bind()
    taken = set(connection.execute(text("select email from users")).scalars())
    for email in sorted(taken):
        folded = fold_email(email)
        if folded not in taken:
            connection.execute(
                text("update users set email = :folded where email = :email"), {"folded": folded, "email": email}
            )
            taken.add(folded)


def downgrade() -> None:
    raise NotImplementedError("Kairos does not migrate down: restore the backup made before the upgrade.")

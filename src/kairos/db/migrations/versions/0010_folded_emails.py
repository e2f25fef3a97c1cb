"""E-mail addresses in the form in which they are looked up (`kairos.folding`)."""

from alembic import op
from sqlalchemy import text

from kairos.folding import fold_email

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """An account whose form another one has already keeps its own: it is looked up by that first."""
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

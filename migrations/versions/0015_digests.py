"""The form of a keyed digest is said once: its generation, and how a newer key wraps it."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# A digest is an HMAC-SHA256, cut to 16 bytes (a person, a vehicle) or whole (a fingerprint). The
# first key's digest is bare; a digest of generation n >= 2 begins with the byte n. So the bytes of
# the HMAC are the length without its remainder by 16. `service/claims/people/digests.py` makes the
# same digests. `inner_pad` and `outer_pad` are the two padded blocks of the newest key's HMAC.
STATEMENTS = """
CREATE FUNCTION digest_generation(digest bytea) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN length(digest) IN (16, 32) THEN 1 ELSE get_byte(digest, 0) END
$$;

CREATE FUNCTION wrapped_digest(digest bytea, generation integer, inner_pad bytea, outer_pad bytea)
RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT set_byte('\\x00'::bytea, 0, generation)
        || substr(sha256(outer_pad || sha256(inner_pad || digest)), 1, length(digest) / 16 * 16)
$$
"""


def upgrade() -> None:
    for statement in STATEMENTS.split(";\n\n"):
        op.execute(statement)

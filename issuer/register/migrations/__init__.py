"""The register's schema from release to release; each step is frozen once it was released."""

# The last step. issuer/register/schema.py describes what it leaves, and tests compare the two.
HEAD = "0004"

"""The register: the record of holders, credentials and status. Redis is a cache of it."""

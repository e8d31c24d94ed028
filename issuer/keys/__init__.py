"""Signing keys: their life, the key set that publishes them, and the ring that signs."""

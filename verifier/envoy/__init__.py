"""The Envoy engine: Envoy takes connections, TLS and limits; Python inside it answers."""

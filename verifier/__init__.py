"""Gatelight's verifier: what a valid code is, and the service that answers scans at the gates.

The lower layer on purpose: the issuer imports from here, never the other way round, and nothing in
this package can reach a private key.
"""

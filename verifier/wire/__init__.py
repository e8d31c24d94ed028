"""What issuer and verifier agree on byte for byte: pure functions, no clock, no I/O, no private keys."""

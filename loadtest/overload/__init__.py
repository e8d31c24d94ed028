"""`python -m loadtest overload`: more scans than a verifier can answer, and what becomes of them."""

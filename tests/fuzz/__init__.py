"""Coverage-guided fuzzing of everything that reads what others wrote: `python -m tests.fuzz TARGET|all`.

A target takes bytes and raises AssertionError, or any other error, where something does not hold that must:
only errors of the family, green only for what the key signed, what is encoded is decoded to the same, a
damaged journal gives nothing that was not written. tests/fuzz/corpus/ holds what reached new code, and
test_corpus.py replays it without a fuzzer. Keys here are derived from fixed seeds: trust nothing they sign.
"""

"""The verifier that most people would write, to compare ours with: `python -m loadtest.baseline --help`.

It speaks the same API, reads the same codes and gives the same verdicts: grpcio's thread pool with generated
stubs, the package cbor2, Ed25519 by the package cryptography, and one Redis GET a scan through a pool of
connections, with hiredis. Nothing in it is slow on purpose, and Base45 is even ours, five times as fast as
the package of that name.

What it leaves out, each of which would cost more: no mirror, so no verdict without Redis; no scan log, gate
keys, policies or last tests; no limits on what may wait (a lane keeps one of the threads); one process; one
key for good; and no strictness: cbor2 reads many encodings of one code, which ours refuses.
"""

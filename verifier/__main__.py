"""`python -m verifier` is `gatelight-verifier`."""

from verifier.cli import main

if __name__ == "__main__":
    main(prog_name="gatelight-verifier")

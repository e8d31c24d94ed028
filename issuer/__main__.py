"""`python -m issuer` is `gatelight-issuer`."""

from issuer.cli import main

if __name__ == "__main__":
    main(prog_name="gatelight-issuer")

"""Locust over gRPC: a morning at the gates, with people who do not wait for the server.

    locust -f loadtest/locustfile.py --host 127.0.0.1:50051 --corpus corpus.bin --headless -t 10s

Every answer is compared with the verdict that the corpus expects: a wrong verdict is a failure, also when
the call itself went well, and is named with its scan_id. Latency counts from the moment at which a scan was
due. loadtest/crowd/ has everything; `--help` lists its options under Gatelight.
"""

from locust import events

from loadtest.crowd.locust_side import Morning, Site, side

__all__ = ["Morning", "Site"]

side.connect(events)

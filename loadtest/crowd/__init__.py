"""The Locust generator: a crowd that comes when it comes, compares every verdict, and tells its own faults.

    options.py      what the user asks for
    locust_side.py  where Locust calls us: options, start, stop, user, shape; the only module that it needs
    generator.py    one generating process: sites, the bound on scans under way, reports to the master
    control.py      the master, or the only process: merges reports, carries out acts, judges, writes

Locust forks its --processes after it has loaded the locustfile, and gRPC does not survive a fork: only
generator.py and what it imports know gRPC, and it is imported after the fork.
"""

"""Real processes, real load: the demo, the benchmark, and the Locust scenarios."""

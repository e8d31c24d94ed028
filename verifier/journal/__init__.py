"""The scan log on its way: from a worker's journal file to the Redis stream."""

"""One machine: a supervisor, its workers on one port, and what they share in memory."""

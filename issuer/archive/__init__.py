"""The archive: the process that moves scans from Redis into the register, and watches over them there."""

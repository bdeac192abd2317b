"""What every logger of a process says at debug level, in a file."""

"""Text for people and machines on stdout, stderr and in reports, safe for any file name."""

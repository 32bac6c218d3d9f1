"""Text for people and machines on stdout, stderr and in reports, whatever names it holds."""

"""The summary of a run: counts, accuracy, the report and the terminal."""

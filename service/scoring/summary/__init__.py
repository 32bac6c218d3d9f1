"""What is said of a run: counts, accuracy, the report and the terminal."""

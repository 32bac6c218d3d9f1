"""What a run begins with: its recipe and its weights, named or chosen by the data."""

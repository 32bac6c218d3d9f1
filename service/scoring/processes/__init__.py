"""Score in several processes: all of them read and decode, and this one runs the network."""

"""The cost model: the best rates of this machine, the work of a pass, and the gap between them."""

"""Find the global pools of a graph, and the head behind them."""

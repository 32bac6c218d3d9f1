"""How good a package is: metrics of every TTA mode, by the code that serves."""

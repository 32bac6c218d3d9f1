"""Multi-label packages: what is fitted, measured and reported where several classes may be true."""

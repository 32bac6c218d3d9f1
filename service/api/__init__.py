"""HTTP: the BentoML service, its routes, and the page."""

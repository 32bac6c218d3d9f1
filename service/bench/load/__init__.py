"""Load over HTTP: client processes that send requests when they are due."""

"""Attacks on a server: bodies, clients, processes and what surrounds them."""

"""Requests that come from web pages: host names, origins and CORS."""

"""Parts of every HTTP request: limits, keys, bodies, deadlines, and errors as answers."""

"""What every HTTP request passes: limits, keys, bodies, deadlines, and errors as answers."""

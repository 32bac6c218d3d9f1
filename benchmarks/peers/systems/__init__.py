"""Each peer as its own documentation shows it. Each runs in its own venv."""

"""The cost model: what this machine can do, what a pass needs, and how far the two are apart."""

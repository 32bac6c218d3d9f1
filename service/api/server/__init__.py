"""The processes of a server: launch, supervision, workers, the served models and their reload."""

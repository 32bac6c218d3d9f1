"""The OpenAPI document and the shapes of answers."""

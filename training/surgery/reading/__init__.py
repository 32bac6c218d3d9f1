"""From a file to a graph that is simplified, of known signature, without softmax at the end."""

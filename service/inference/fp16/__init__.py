"""The fp16 graph for a GPU: derived from the fp32 graph, compared with it, and cached."""

"""Put the ends of the package contract on a graph: preprocessing, class map, windows."""

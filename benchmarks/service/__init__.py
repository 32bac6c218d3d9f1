"""What the service itself must show: throughput, tails, overload, a soak, malformed bodies."""

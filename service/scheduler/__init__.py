"""The scheduler of the server: admission, queue, batch policy and worker threads."""

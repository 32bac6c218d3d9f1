"""Which views run next, on which thread: admission, queue, batches and workers."""

"""Numbers from untrained networks: batches, captures, samples for screening, the memo, and the processes that work."""

"""Names what a run reads, so that the cached stages after it know when to run again."""

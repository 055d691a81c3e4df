"""Programs that measure what the package does on the embedded world."""

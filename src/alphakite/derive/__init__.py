"""Records → rows; pure: no clock, no log, no await. The same records give the same rows, whatever the batches."""

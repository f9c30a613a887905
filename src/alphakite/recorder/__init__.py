"""The recorder: capture on one side, drain on the other, the journal between them. Only here do the four stages meet."""

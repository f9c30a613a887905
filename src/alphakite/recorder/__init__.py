"""The recorder: capture on one side, drain on the other, the journal between. Only here do the four stages meet."""

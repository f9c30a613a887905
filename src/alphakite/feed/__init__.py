"""Sources: outside → bytes → changed fields. A vendor's spelling stays in its folder."""

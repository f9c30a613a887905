"""Indicators: one small file each, exact integers inside, rounded once at output."""

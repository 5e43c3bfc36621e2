"""What normalization, dropout and averages do for a net."""

"""How nets are broken: the nearest mistakes, and those that serve many images."""

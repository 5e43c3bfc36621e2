"""How the weights start."""

"""What nets look at: covered images, signals sent back to pixels, pictures that units like."""

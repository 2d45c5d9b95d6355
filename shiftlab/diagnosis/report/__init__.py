"""Ways to show a diagnosis: in the terminal and as a page."""

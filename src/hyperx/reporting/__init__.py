"""A run as one page with pictures, and runs side by side."""

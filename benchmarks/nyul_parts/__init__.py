"""Parts of nyul.py."""

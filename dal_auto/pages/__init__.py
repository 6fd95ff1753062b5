"""What all HTML pages share: one base, one style, one table script, pictures, and the viewer."""

"""What each command does once its options are understood; imported then, as torch takes seconds."""

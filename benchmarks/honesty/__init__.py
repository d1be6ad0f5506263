"""Series whose truth is known, and how often the verdict on them is right."""

"""How often the verdict is right on series whose truth is known: `series` makes, `judging` counts."""

"""From prices to windows: where prices come from, which sessions they have, and how folds walk through them."""

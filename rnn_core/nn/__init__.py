"""Recurrent networks by hand-written backpropagation through time. Needs NumPy alone."""

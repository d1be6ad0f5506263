"""Recurrent networks by hand-written backpropagation through time, for many models at once. Needs NumPy alone."""

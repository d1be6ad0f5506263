"""Measurements of databases that years of use have filled."""

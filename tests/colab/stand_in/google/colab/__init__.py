"""Stands for Colab's own package in tests: its shell has the name by which notebooks know where they are."""

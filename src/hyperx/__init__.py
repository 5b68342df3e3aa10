"""Hyper-X: one hypernetwork that writes the adapters of a frozen multilingual encoder for every task and language."""

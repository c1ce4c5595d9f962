"""Inputs, outputs and their names: what clients upload, what jobs make, and bringing both to the runners."""

"""Conformance: real drivers, through any proxy command, onto two clusters whose rows are then read directly."""

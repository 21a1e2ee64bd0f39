"""Everything static is in pyproject.toml; what is decided at build time goes here."""

from setuptools import setup

setup()

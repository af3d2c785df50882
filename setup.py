"""For tools that want a setup.py; all that there is to say of the package stands in pyproject.toml."""

from setuptools import setup

setup()

"""The machine and its files: devices, output that appears whole or not at all, the environment."""

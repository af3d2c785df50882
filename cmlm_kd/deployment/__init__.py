"""Deployment: a finished student in the runtime that it is to be used in, and its use there."""

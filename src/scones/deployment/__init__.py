"""Deployment: the template, the image, releases, the lock, cleanup and prices of an environment."""

"""Deployment of images to computers: who they are, what is done to them, their state, and stand-alone media."""

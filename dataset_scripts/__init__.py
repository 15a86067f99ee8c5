"""Builders that read the datasets of MTP from the files as downloaded."""

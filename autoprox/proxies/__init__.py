"""Proxies: scores from features, the known ones, proxy files, and scores of given architectures."""

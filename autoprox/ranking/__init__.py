"""How well scores rank: correlations with intervals, the ground truth and its split, fitness, comparison of proxies."""

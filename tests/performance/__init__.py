"""Speed and memory, as ratios within one run: `make perf`. Nothing here passes or fails; the figures are for people."""

"""Studies: methods of discovery side by side, under designs that hold something out, as one table."""

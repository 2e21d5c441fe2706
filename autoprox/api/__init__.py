"""What the commands do, as Python functions: ``autoprox.discover``, ``rank``, ``search`` and ``score``.

Arguments are those of the command line, with the same names and defaults, and both take the same way: a command recalls the
options of its run and shows what comes out, the rest happens here. Importing this package loads nothing heavy.
"""

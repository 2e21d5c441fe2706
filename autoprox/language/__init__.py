"""The proxy language: expressions and their fold, the parser and printers, canonical forms."""

"""Interned expression graph: nodes, index maps, printer, verifier and interpreter."""

"""What stores need of their engines, made and checked (`holdfast provision`) and printed as code.

One module an engine; a store's `provision` and `as_code` lead here, so that no application loads any of it.
"""

"""What survives the process: pages of streams, each stamped with the offset it has been
applied up to.
"""

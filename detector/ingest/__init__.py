"""From a topic's records to points: sources, formats, checks and keying.

A source yields raw batches. A format turns their bytes into rows. Checks that all
formats share reject bad records. The keying step turns rows into points of streams.
"""

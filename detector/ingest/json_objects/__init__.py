"""Objects of named fields: recognised, and mapped to rows.

Most come from JSON text. Payloads of Avro and Protobuf are decoded to the same objects,
so one mapping reads them all. ``recognise`` finds what an object is; ``mapping`` says
which fields are its time, stream, metrics and labels; ``mapper`` makes rows of it.
"""

"""Producers of JSON, one file each: how their records are recognised and mapped."""

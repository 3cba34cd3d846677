"""Another bundle, or other settings, without a restart."""

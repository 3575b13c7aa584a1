"""The configuration: one TOML file to frozen settings, every problem at once."""

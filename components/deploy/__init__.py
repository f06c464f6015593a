"""deploy: a registered version is brought up, asked, and only then sent traffic."""

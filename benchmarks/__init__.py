"""The tables: one module each, started by `deskgraph bench NAME`."""

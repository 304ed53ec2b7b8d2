"""Raw archives of public mammography datasets to paired image/mask PNGs."""

__version__ = "0.1.0"

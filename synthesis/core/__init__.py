"""What every room of `synthesis` stands on: errors, files that are whole or absent, ids, real images, plain YAML."""

__all__ = [
    "caches", "collector", "drawn_texts", "embedded", "errors", "fetched", "files", "identity", "images", "knowledge",
    "layout", "library_errors", "machine", "overrides", "plain_yaml", "progress", "quiet", "real_pictures", "records",
    "round_robin", "sampling", "stamps", "stopping", "storage", "terminal",
]

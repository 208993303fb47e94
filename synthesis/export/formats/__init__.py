"""One exporter a format."""

__all__ = ["coco", "geotiff", "imagefolder", "karpathy", "llava", "messages", "parquet", "webdataset"]

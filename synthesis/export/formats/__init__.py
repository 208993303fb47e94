"""One exporter a format."""

__all__ = ["coco", "coco_instances", "dota", "geotiff", "imagefolder", "karpathy", "llava", "messages", "parquet",
           "semantic", "voc", "webdataset", "yolo"]

"""One exporter a format."""

__all__ = ["coco", "coco_instances", "dota", "geotiff", "grounding", "imagefolder", "karpathy", "levir_cc", "llava",
           "llava_boxes", "messages", "parquet", "semantic", "voc", "webdataset", "yolo"]

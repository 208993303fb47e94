"""Is an image near another one: copies of training images, and images that a data set repeats."""

__all__ = ["duplicates", "measures", "memorisation", "nearest", "perceptual_hash", "registration", "repetition"]

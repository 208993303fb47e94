"""Images where a model needs them: what it mistakes, how many images each class then gets, and the recipe for them."""

__all__ = ["allocation", "confusions", "measuring", "prediction_files", "targeting"]

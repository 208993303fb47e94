"""Fine-tuning of diffusers pipelines: LoRA, all weights, networks for layouts, and distillation to few steps."""

__all__ = ["run"]

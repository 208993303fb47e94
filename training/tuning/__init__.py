"""Fine-tuning of diffusers pipelines: LoRA, all weights, and distillation to few steps."""

__all__ = ["run"]

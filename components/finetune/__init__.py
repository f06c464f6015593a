"""Fine-tuning: a base model and the shards in, the teacher out."""

from components.finetune.finetuning import FinetuneResult, FinetuneSettings, finetune_model

__all__ = ["FinetuneResult", "FinetuneSettings", "finetune_model"]

"""Distillation: a teacher and a student (given, or cut from the teacher) in, a model out."""

from components.distill.distilling import DistillResult, DistillSettings, distill_model

__all__ = ["DistillResult", "DistillSettings", "distill_model"]

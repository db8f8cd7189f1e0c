"""Initial weights of PyTorch models: a model's own initialization, with the same bits on every device and mesh."""

from fanin.torch._build import build
from fanin.torch._fill import fill_
from fanin.torch._init import init_
from fanin.torch._recorded import Recorded, RecordedPart, RecordedTensor, RecordWarning, record
from fanin.torch._report import Count, Report

__all__ = ["Count", "RecordWarning", "Recorded", "RecordedPart", "RecordedTensor", "Report", "build", "fill_", "init_", "record"]

"""Initial weights of PyTorch models: a model's own initialization, with the same bits on every device and mesh."""

from fanin.torch._build import build
from fanin.torch._fill import fill_
from fanin.torch._recorded import Recorded, RecordedPart, RecordedTensor, RecordWarning, record

__all__ = ["RecordWarning", "Recorded", "RecordedPart", "RecordedTensor", "build", "fill_", "record"]

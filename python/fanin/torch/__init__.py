"""Initial weights of PyTorch models: a model's own initialization, with the same bits on every device and mesh."""

from fanin.torch._problems import RecordError, RecordWarning
from fanin.torch._recorded import Recorded, RecordedPart, RecordedTensor, record

__all__ = ["RecordError", "RecordWarning", "Recorded", "RecordedPart", "RecordedTensor", "record"]

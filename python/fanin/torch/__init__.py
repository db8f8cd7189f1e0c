"""PyTorch: a model's own initial weights, with the same bits on every device and mesh."""

from fanin.torch._build import build
from fanin.torch._fill import fill_
from fanin.torch._init import init_
from fanin.torch._problems import RecordError, RecordWarning
from fanin.torch._recorded import Recorded, RecordedPart, RecordedTensor, record
from fanin.torch._report import Count, Report
from fanin.torch._seeded import seeded

__all__ = [
    "Count",
    "RecordError",
    "RecordWarning",
    "Recorded",
    "RecordedPart",
    "RecordedTensor",
    "Report",
    "build",
    "fill_",
    "init_",
    "record",
    "seeded",
]

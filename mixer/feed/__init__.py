"""Feed a trainer: random access to the sequences of a build, the order of training, and the cursor.

Needs only numpy and pyarrow. Each framework has its own module here.
"""

from mixer.feed.cursor import Cursor
from mixer.feed.order import Order
from mixer.feed.sequences import Batch, SequenceSet, open_build

open = open_build

__all__ = ["Batch", "Cursor", "Order", "SequenceSet", "open", "open_build"]

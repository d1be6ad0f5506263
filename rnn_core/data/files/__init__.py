"""Read daily prices from a CSV or Parquet file, as people have them.

What cannot be read without a doubt is refused: never a wrong number or a wrong day.
"""

from rnn_core.data.files.reading import file_of, read_file
from rnn_core.data.files.tables import TICKER

__all__ = ["TICKER", "file_of", "read_file"]

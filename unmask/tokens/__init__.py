"""Tokens: text to ids and back.

`Tokenizer`, `Vocab` and `Encoded` are in `tokenizer.py`, the training of new ones in `train.py`; both stand on the
`tokenizers` library.
"""

from unmask.tokens.tokenizer import Encoded, Tokenizer, Vocab, load_tokenizer, token_starts
from unmask.tokens.train import KINDS, train_tokenizer

__all__ = ["KINDS", "Encoded", "Tokenizer", "Vocab", "load_tokenizer", "token_starts", "train_tokenizer"]

"""A corpus folder: documents as token ids, memory-mapped.

    DIR/
      manifest.json        counts, hashes, settings; written last, so a folder without it is not finished
      ledger.json          what came in, what was kept, split, cut and dropped, with reasons and samples
      tokenizer/           tokenizer.json, tokenizer_config.json
      train-00000.arrow …  one row a document: id, tokens, sentence_ends, word_starts
      heldout-00000.arrow … the documents that training never sees
      unigram.npy          how often each id occurs in the training part

`Store` reads it, `write.py` writes the shards, `build.py` makes it from text. Token ids are 16 or 32 bits wide,
word starts one bit; with its offsets a token takes a little more than two bytes. Nothing is read before it is
asked for, and what is read are views on the memory map.
"""

from unmask.store.read import Store, Stored

__all__ = ["Store", "Stored"]

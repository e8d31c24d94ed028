"""The corpus that the user gave: is it there, and is it right for the whole run? Knows no gRPC."""

import time

from loadtest.corpus_file import CorpusError, CorpusFile
from loadtest.crowd.options import LoadOptions

# Sites connect meanwhile; then the first scan is due.
LEAD_S = 1.0
_KEYS_OF_A_CHANGE = 2


class UnfitCorpus(Exception):
    """The corpus is missing, too old, or not for this scenario; the message is for people."""


def open_corpus(options: LoadOptions) -> CorpusFile:
    """Return the corpus for a run that begins now; raises UnfitCorpus."""
    now = time.time()
    try:
        corpus = CorpusFile.open(options.corpus)
        corpus.require_good(now, now + LEAD_S + options.scenario.duration_s + options.patience_s)
    except CorpusError as error:
        raise UnfitCorpus(str(error)) from None
    if options.key_changes_at_s <= options.scenario.duration_s and corpus.keys < _KEYS_OF_A_CHANGE:
        raise UnfitCorpus(f"{options.scenario.name} needs a corpus with codes of a second key")
    return corpus

"""How long Presidio takes, its pattern recognisers alone and with the one of phone numbers, which is no pattern:
seconds of the processor for each list of texts of a JSON object.

    PYTHON benchmarks/presidio.py < texts.json

runs in an environment of Presidio's own (see `benchmarks.scrub`), without a language model and without network.
"""

import json
import sys
import time

import tldextract
from presidio_analyzer import AnalyzerEngine, PatternRecognizer, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

LANGUAGE = "en"


class NoModel(NlpEngine):
    """Says nothing of a text, in no time."""

    def load(self):
        pass

    def is_loaded(self):
        return True

    def process_text(self, text, language):
        return NlpArtifacts([], [], [], [], self, language)

    def process_batch(self, texts, language, **_):
        return ((text, self.process_text(text, language)) for text in texts)

    def is_stopword(self, word, language):
        return False

    def is_punct(self, word, language):
        return False

    def get_supported_entities(self):
        return []

    def get_supported_languages(self):
        return [LANGUAGE]


def analyzer(phones: bool) -> AnalyzerEngine:
    """All predefined recognisers that are patterns, and the one of phone numbers if asked for."""
    registry = RecognizerRegistry(supported_languages=[LANGUAGE])
    registry.load_predefined_recognizers(languages=[LANGUAGE])
    wanted = (PatternRecognizer, PhoneRecognizer) if phones else PatternRecognizer
    registry.recognizers = [each for each in registry.recognizers if isinstance(each, wanted)]
    return AnalyzerEngine(registry=registry, nlp_engine=NoModel(), supported_languages=[LANGUAGE])


def seconds(engine: AnalyzerEngine, texts: list[str]) -> float:
    """Of the processor; without what is made when it is first needed."""
    for text in texts[:50]:
        engine.analyze(text, LANGUAGE)
    started = time.process_time()
    for text in texts:
        engine.analyze(text, LANGUAGE)
    return time.process_time() - started


def main() -> None:
    """The command."""
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())
    columns = json.load(sys.stdin)
    engines = {"patterns": analyzer(phones=False), "and phones": analyzer(phones=True)}
    took = {name: {what: seconds(engine, texts) for what, engine in engines.items()} for name, texts in columns.items()}
    print(json.dumps(took))


if __name__ == "__main__":
    main()

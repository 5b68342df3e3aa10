"""What gives the adapters of a model: the hypernetwork, plain adapters, or nothing."""

from __future__ import annotations

from collections.abc import Collection

from hyperx.config import ModelConfig
from hyperx.languages import canonical
from hyperx.method.hypernetwork import Hypernetwork
from hyperx.method.plain import PlainAdapters
from hyperx.pairs import TaskLanguagePair


def new_adapters(
    config: ModelConfig, auxiliary: Collection[str], *, layers: int, hidden_size: int
) -> Hypernetwork | PlainAdapters | None:
    """A new hypernetwork or new plain adapters, which are called alike with the indices of tasks and languages, for L
    layers of hidden size h; auxiliary are the tasks that only serve others."""
    kind, options = config.architecture.adapters, config.hypernetwork
    languages = [canonical(language) for language in config.languages]
    if kind == "none":
        return None
    if kind == "hypernetwork":
        learnt = learnt_languages(config, auxiliary).values()
        own = {TaskLanguagePair.parse(pair).key: name for pair, name in config.corpora.items()}
        numbers = {name: number for number, name in enumerate(config.corpus_names)}
        return Hypernetwork(
            learnt=[[language in known for language in languages] for known in learnt],
            corpora=[[numbers.get(own.get((task, one), ""), -1) for one in languages] for task in config.kinds],
            layers=layers,
            hidden_size=hidden_size,
            options=options,
            rank=config.generator_rank,
        )
    return PlainAdapters(
        sharing=kind,
        tasks=tuple(config.kinds),
        languages=languages,
        trained_pairs=config.trained_keys,
        layers=layers,
        hidden_size=hidden_size,
        options=options,
    )


def learnt_languages(config: ModelConfig, auxiliary: Collection[str] = ()) -> dict[str, set[str]]:
    """For each task the languages in its mean, in canonical form: those of its training pairs.

    An embedding that only another task has trained is an outlier to the adapters of this task. A task without training
    pairs uses the languages of the labelled tasks. Where every language reads its own embedding, the mean, which only
    serves languages that the model does not have, is that of all trained languages.
    """
    known = {canonical(language) for language in config.languages}
    # A run that starts from another one may have left out some of its languages.
    pairs = [(task, language) for task, language in config.trained_keys if language in known]
    every = {language for _, language in pairs}
    if not config.hypernetwork.mean_for_untrained:
        return dict.fromkeys(config.kinds, every)
    own = {name: {language for task, language in pairs if task == name} for name in config.kinds}
    labelled = set().union(*(languages for name, languages in own.items() if name not in auxiliary))
    return {name: languages or labelled or every for name, languages in own.items()}

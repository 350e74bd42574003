"""A package, so that no installed one of this name takes its place: dcase_util, which sed_eval needs, brings its own ``tests``."""

"""Translators of every kind but fairseq's, which the plug-in registers (``fairseq_plugins/translators``)."""

"""Results as one self-contained web page: translators (``cmlm-kd report --html``), and a FastBERT's exits
(``cmlm-kd exits --html``).

Python decides what a page says, ``templates`` how it looks. All text is escaped by Jinja, data for the
scripts by its ``tojson``, and a policy in the page's head lets a browser run no script but the page's own,
and load nothing.
"""

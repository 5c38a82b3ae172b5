"""The last stage: one self-contained HTML page about a search.

studies.py rebuilds Optuna studies from the result, figures.py and tradeoff.py draw with plotly,
findings.py puts numbers into words, tables.py writes HTML, page.py puts all together. Importing
it loads plotly and scikit-learn, hence it runs as `python -m hpo_pipeline.report RUN_FOLDER`.
"""

from hpo_pipeline.report.page import write_report

__all__ = ["write_report"]

"""The last stage: one self-contained HTML page about a search.

studies.py rebuilds Optuna studies from the result; figures.py, curves.py and tradeoff.py draw
with plotly; findings.py puts numbers into words; leaderboard.py and tables.py write HTML; page.py
puts all together. It loads plotly and pandas: `hpo run` starts it as a process of its own.
"""

from hpo_pipeline.reports.html.page import write_report

__all__ = ["write_report"]

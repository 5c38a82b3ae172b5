"""Watching runs from outside: metrics for Prometheus, notices, and the live page.

Everything here reads what runs leave behind; no run waits for it or fails because of it.
"""

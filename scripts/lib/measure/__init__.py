"""Measuring the gateway beside nginx and HAProxy."""

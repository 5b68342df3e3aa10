"""The transfer suite: methods side by side on an experiment, every cell scored. See docs/transfer-suite.md."""
